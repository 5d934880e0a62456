#include "models/qwen3_omni_moe/code2wav.h"

#include <algorithm>

#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/norm.h"

namespace tutti::qwen3_omni_moe {

namespace {

// Frames of one sequence in one step, and of all sequences in one pass: the last decoder block
// keeps about 3 MB of activations per frame at the published width.
constexpr int64_t kMaxFramesPerStep = 32;
constexpr int64_t kMaxFramesPerPass = 64;
constexpr int64_t kBlockSize = 16;

Tensor host_rows(OpContext& ctx, std::span<const int32_t> values, Shape shape) {
  Tensor out = ctx.workspace.tensor(shape, DType::kI32);
  std::ranges::copy(values, out.data<int32_t>());
  return out;
}

// The paged view of one sequence's ring of KV blocks.
struct RingBatch {
  Tensor query_start;
  Tensor kv_lengths;
  Tensor block_tables;
  Tensor slots;
  int64_t frames;
  int64_t length;

  RingBatch(OpContext& ctx, int64_t position, int64_t frames_in, int64_t ring_blocks)
      : frames(frames_in), length(position + frames_in) {
    const auto i32 = [](int64_t n) { return static_cast<int32_t>(n); };
    query_start = host_rows(ctx, std::array{0, i32(frames)}, {2});
    kv_lengths = host_rows(ctx, std::array{i32(length)}, {1});
    const int64_t blocks = (length + kBlockSize - 1) / kBlockSize;
    block_tables = ctx.workspace.tensor({1, blocks}, DType::kI32);
    for (int64_t b = 0; b < blocks; ++b) block_tables.data<int32_t>()[b] = i32(b % ring_blocks);
    slots = ctx.workspace.tensor({frames}, DType::kI32);
    for (int64_t i = 0; i < frames; ++i) {
      const int64_t p = position + i;
      slots.data<int32_t>()[i] = i32(p / kBlockSize % ring_blocks * kBlockSize + p % kBlockSize);
    }
  }
  ops::PagedBatch view() const {
    return {query_start, kv_lengths, block_tables, slots, 1, frames, length};
  }
};

Tensor slice_rows(const Tensor& x, int64_t first, int64_t count) {
  return x.slice(first, first + count);
}

}  // namespace

Code2Wav::Code2Wav(const Code2WavConfig& config, Code2WavNetwork network, double fade_in_s)
    : config_(config), net_(std::move(network)) {
  info_.sample_rate = kSampleRate;
  info_.frame_s = static_cast<double>(config.samples_per_frame()) / kSampleRate;
  info_.max_frames_per_step = kMaxFramesPerStep;
  info_.fade_in_s = fade_in_s;
  // All keys that a step's queries see lie in the ring at once.
  const int64_t live = config.transformer.sliding_window - 1 + kMaxFramesPerStep;
  ring_blocks_ = (live + kBlockSize - 1) / kBlockSize + 1;
}

Result<std::unique_ptr<GenerationSequence>> Code2Wav::start(const StageInput& input) {
  auto sequence = std::make_unique<Code2WavSequence>();
  const DecoderConfig& c = config_.transformer;
  const Shape cache{ring_blocks_, c.num_key_value_heads, kBlockSize, c.head_dim};
  for (size_t i = 0; i < net_.layers.size(); ++i) {
    sequence->keys.push_back(Tensor::zeros(cache));
    sequence->values.push_back(Tensor::zeros(cache));
  }
  sequence->tails = Code2WavTails::fresh(net_);
  TUTTI_RETURN_IF_ERROR(append(*sequence, input.payload, input.last));
  return std::unique_ptr<GenerationSequence>(std::move(sequence));
}

Status Code2Wav::append(GenerationSequence& base, StagePayload payload, bool last) {
  auto& sequence = static_cast<Code2WavSequence&>(base);
  sequence.complete = sequence.complete || last;
  const auto it = payload.tensors.find("codes");
  if (it == payload.tensors.end()) return Status();
  const Tensor& codes = it->second;
  if (codes.dtype() != DType::kI32 || codes.rank() != 2 || codes.dim(1) != config_.num_quantizers ||
      !codes.is_contiguous()) {
    return internal_error("Codec frames have shape " + codes.shape().to_string() +
                          ", expected [frames, " + std::to_string(config_.num_quantizers) + "].");
  }
  const std::span values(codes.data<int32_t>(), static_cast<size_t>(codes.num_elements()));
  for (int32_t code : values) {
    if (code < 0 || code >= config_.codebook_size) {
      return internal_error("A codec frame has code " + std::to_string(code) +
                            ", allowed are 0 to " + std::to_string(config_.codebook_size - 1) +
                            ".");
    }
  }
  sequence.codes.insert(sequence.codes.end(), values.begin(), values.end());
  return Status();
}

int64_t Code2Wav::pending_frames(const GenerationSequence& base) const {
  const auto& sequence = static_cast<const Code2WavSequence&>(base);
  return static_cast<int64_t>(sequence.codes.size()) / config_.num_quantizers - sequence.next;
}

bool Code2Wav::input_complete(const GenerationSequence& sequence) const {
  return static_cast<const Code2WavSequence&>(sequence).complete;
}

void Code2Wav::run(OpContext& ctx, std::span<Work> work) {
  size_t begin = 0;
  while (begin < work.size()) {
    size_t end = begin;
    int64_t frames = 0;
    do {
      frames += work[end++].frames;
    } while (end < work.size() && frames + work[end].frames <= kMaxFramesPerPass);
    run_pass(ctx, work.subspan(begin, end - begin));
    begin = end;
  }
}

void Code2Wav::run_pass(OpContext& ctx, std::span<Work> work) {
  Workspace::Scope scratch(ctx.workspace);
  std::vector<Item> items;
  int64_t rows = 0;
  for (Work& w : work) {
    auto* sequence = static_cast<Code2WavSequence*>(w.sequence);
    TUTTI_CHECK(
        w.frames >= 1 && w.frames <= kMaxFramesPerStep && w.frames <= pending_frames(*sequence),
        "a step computes frames that have arrived");
    w.output = {{}, kSampleRate};
    items.push_back({sequence, &w, rows, w.frames});
    rows += w.frames;
  }
  const Tensor x = embed(ctx, items, rows);
  pre_transformer(ctx, items, x);
  if (probe_) probe_("pre_transformer", x);

  Signals signals;
  for (const Item& item : items) {
    signals.push_back({&item, slice_rows(x, item.first_row, item.frames)});
  }
  for (size_t i = 0; i < net_.upsample.size(); ++i) signals = upsample(ctx, i, signals);
  if (probe_ && !signals.empty()) probe_("upsampled", signals[0].rows);

  std::vector<ConvStream> streams;
  std::vector<Tensor> outs;
  for (Signal& s : signals) {
    ConvTail& tail = s.item->sequence->tails.decoder_in;
    streams.push_back(net_.decoder_in.window(ctx, tail, s.rows.dim(0)));
    ops::copy(ctx, s.rows, streams.back().new_rows());
    outs.push_back(ctx.workspace.tensor({s.rows.dim(0), config_.decoder_dim}));
    s.rows = outs.back();
  }
  if (!streams.empty()) net_.decoder_in.forward(ctx, streams, outs);
  for (size_t i = 0; i < net_.blocks.size(); ++i) signals = decode_block(ctx, i, signals);
  finish(ctx, signals);

  for (const Item& item : items) {
    Code2WavSequence& sequence = *item.sequence;
    sequence.position += item.frames;
    sequence.next += item.frames;
    // Frames that are done need not be kept; moving the rest is cheap and rare.
    const auto used = static_cast<size_t>(sequence.next * config_.num_quantizers);
    if (2 * used >= sequence.codes.size()) {
      sequence.codes.erase(sequence.codes.begin(),
                           sequence.codes.begin() + static_cast<int64_t>(used));
      sequence.next = 0;
    }
  }
}

Tensor Code2Wav::embed(OpContext& ctx, std::span<const Item> items, int64_t rows) const {
  const int64_t groups = config_.num_quantizers;
  const Tensor out = ctx.workspace.tensor({rows, config_.transformer.hidden_size});
  Workspace::Scope scratch(ctx.workspace);
  const Tensor ids = ctx.workspace.tensor({rows, groups}, DType::kI32);
  for (const Item& item : items) {
    std::copy_n(item.sequence->codes.data() + item.sequence->next * groups, item.frames * groups,
                ids.data<int32_t>() + item.first_row * groups);
  }
  ops::embedding_sum(ctx, ids, net_.code_embedding, config_.codebook_size,
                     1.0f / static_cast<float>(groups), out);
  return out;
}

void Code2Wav::pre_transformer(OpContext& ctx, std::span<const Item> items, const Tensor& x) const {
  Workspace::Scope scratch(ctx.workspace);
  const int64_t rows = x.dim(0);
  const Tensor positions = ctx.workspace.tensor({1, rows});
  std::vector<RingBatch> batches;
  for (const Item& item : items) {
    for (int64_t i = 0; i < item.frames; ++i) {
      positions.data<float>()[item.first_row + i] = static_cast<float>(item.sequence->position + i);
    }
    batches.emplace_back(ctx, item.sequence->position, item.frames, ring_blocks_);
  }
  const RotaryAngles angles = net_.rotary.angles(ctx, positions);
  const Tensor normed = ctx.workspace.tensor(x.shape());
  const Tensor branch = ctx.workspace.tensor(x.shape());
  for (size_t l = 0; l < net_.layers.size(); ++l) {
    Workspace::Scope layer_scratch(ctx.workspace);
    const TransformerLayer& layer = net_.layers[l];
    layer.input_norm.forward(ctx, x, normed);
    const SelfAttention::Heads heads = layer.attention.project(ctx, normed, angles);
    const Tensor attended = ctx.workspace.tensor(heads.q.shape());
    for (size_t i = 0; i < items.size(); ++i) {
      const int64_t first = items[i].first_row, n = items[i].frames;
      const SelfAttention::Heads part{slice_rows(heads.q, first, n), slice_rows(heads.k, first, n),
                                      slice_rows(heads.v, first, n)};
      layer.attention.attend(ctx, part, batches[i].view(),
                             {items[i].sequence->keys[l], items[i].sequence->values[l]},
                             slice_rows(attended, first, n));
    }
    const Linear& o_proj = layer.attention.o_proj;
    o_proj.forward(ctx, attended.reshape({rows, o_proj.in_features()}), branch);
    ops::scale_add(ctx, branch, layer.attention_scale, x, x);
    layer.post_attention_norm.forward(ctx, x, normed);
    layer.mlp.forward(ctx, normed, branch);
    ops::scale_add(ctx, branch, layer.mlp_scale, x, x);
  }
  net_.norm.forward(ctx, x, x);
}

Code2Wav::Signals Code2Wav::upsample(OpContext& ctx, size_t stage, const Signals& in) const {
  const UpsampleStage& up = net_.upsample[stage];
  int64_t rows = 0;
  for (const Signal& s : in) rows += s.rows.dim(0) * up.upsample.stride;
  const Tensor packed = ctx.workspace.tensor({rows, up.upsample.out_channels()});
  Workspace::Scope scratch(ctx.workspace);
  Signals out;
  std::vector<ConvStream> streams;
  std::vector<Tensor> outs;
  int64_t at = 0;
  for (const Signal& s : in) {
    ConvTail& tail = s.item->sequence->tails.upsample[stage].transposed;
    streams.push_back(up.upsample.window(ctx, tail, s.rows.dim(0)));
    ops::copy(ctx, s.rows, streams.back().new_rows());
    outs.push_back(slice_rows(packed, at, up.upsample.out_rows(streams.back())));
    out.push_back({s.item, outs.back()});
    at += outs.back().dim(0);
  }
  up.upsample.forward(ctx, streams, outs);
  convnext(ctx, up.block, stage, packed, out);
  return out;
}

void Code2Wav::convnext(OpContext& ctx, const ConvNeXtBlock& block, size_t stage,
                        const Tensor& packed, const Signals& signals) const {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor hidden = ctx.workspace.tensor(packed.shape());
  std::vector<ConvStream> streams;
  std::vector<Tensor> outs;
  int64_t at = 0;
  for (const Signal& s : signals) {
    ConvTail& tail = s.item->sequence->tails.upsample[stage].depthwise;
    streams.push_back(block.depthwise.window(ctx, tail, s.rows.dim(0)));
    ops::copy(ctx, s.rows, streams.back().new_rows());
    outs.push_back(slice_rows(hidden, at, s.rows.dim(0)));
    at += s.rows.dim(0);
  }
  block.depthwise.forward(ctx, streams, outs);
  constexpr float kEps = 1e-6f;  // fixed in the reference
  ops::layer_norm(ctx, hidden, block.norm_weight, block.norm_bias, kEps, hidden);
  const Tensor wide = block.expand.forward(ctx, hidden, {.activation = ops::Activation::kGelu});
  block.shrink.forward(ctx, wide, hidden);
  ops::scale_add(ctx, hidden, block.gamma, packed, packed);
}

Code2Wav::Signals Code2Wav::decode_block(OpContext& ctx, size_t index, const Signals& in) const {
  const DecoderBlock& block = net_.blocks[index];
  Signals out;
  std::vector<Tensor> outs;
  for (const Signal& s : in) {
    const ConvTail& tail = s.item->sequence->tails.blocks[index].transposed;
    const int64_t rows = s.rows.dim(0) + tail.valid - block.upsample.history();
    outs.push_back(
        ctx.workspace.tensor({rows * block.upsample.stride, block.upsample.out_channels()}));
    // A signal whose first row has just arrived has no samples yet.
    if (rows > 0) out.push_back({s.item, outs.back()});
  }
  Workspace::Scope scratch(ctx.workspace);
  std::vector<ConvStream> streams;
  for (const Signal& s : in) {
    ConvTail& tail = s.item->sequence->tails.blocks[index].transposed;
    streams.push_back(block.upsample.window(ctx, tail, s.rows.dim(0)));
    ops::snake_beta(ctx, s.rows, block.act.alpha, block.act.inv_beta, streams.back().new_rows());
  }
  block.upsample.forward(ctx, streams, outs);
  for (size_t u = 0; u < block.units.size(); ++u) {
    residual_unit(ctx, block.units[u], index, u, out);
  }
  return out;
}

void Code2Wav::residual_unit(OpContext& ctx, const ResidualUnit& unit, size_t block, size_t index,
                             const Signals& signals) const {
  if (signals.empty()) return;
  Workspace::Scope scratch(ctx.workspace);
  std::vector<ConvStream> wide;
  std::vector<ConvStream> narrow;
  std::vector<Tensor> hidden;
  std::vector<Tensor> rows;
  ConvTail none;
  for (const Signal& s : signals) {
    ConvTail& tail = s.item->sequence->tails.blocks[block].units[index];
    wide.push_back(unit.conv1.window(ctx, tail, s.rows.dim(0)));
    ops::snake_beta(ctx, s.rows, unit.act1.alpha, unit.act1.inv_beta, wide.back().new_rows());
    narrow.push_back(unit.conv2.window(ctx, none, s.rows.dim(0)));
    hidden.push_back(narrow.back().new_rows());
    rows.push_back(s.rows);
  }
  unit.conv1.forward(ctx, wide, hidden);
  for (const Tensor& h : hidden) {
    ops::snake_beta(ctx, h, unit.act2.alpha, unit.act2.inv_beta, h);
  }
  unit.conv2.forward(ctx, narrow, rows, rows);
}

void Code2Wav::finish(OpContext& ctx, const Signals& in) const {
  if (in.empty()) return;
  Workspace::Scope scratch(ctx.workspace);
  std::vector<ConvStream> streams;
  std::vector<Tensor> outs;
  for (const Signal& s : in) {
    ConvTail& tail = s.item->sequence->tails.decoder_out;
    streams.push_back(net_.decoder_out.window(ctx, tail, s.rows.dim(0)));
    ops::snake_beta(ctx, s.rows, net_.act_out.alpha, net_.act_out.inv_beta,
                    streams.back().new_rows());
    std::vector<float>& samples = s.item->work->output.samples;
    samples.resize(static_cast<size_t>(s.rows.dim(0)));
    outs.push_back(Tensor::borrow(samples.data(), DType::kF32, {s.rows.dim(0), 1}));
  }
  net_.decoder_out.forward(ctx, streams, outs);
  for (const Tensor& out : outs) ops::clamp(ctx, out, -1.0f, 1.0f, out);
}

}  // namespace tutti::qwen3_omni_moe
