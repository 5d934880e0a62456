#include "models/qwen3_omni_moe/talker.h"

#include <algorithm>

#include "models/qwen3_omni_moe/lora_targets.h"
#include "models/qwen3_omni_moe/media_positions.h"
#include "models/qwen3_omni_moe/weight_map.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"

namespace tutti::qwen3_omni_moe {

namespace {

// Ids at the end of the talker's vocabulary that are no codes: control tokens and voices.
constexpr int64_t kControlTokens = 1024;

TalkerSequence& as_talker(ArSequence& sequence) { return static_cast<TalkerSequence&>(sequence); }
const TalkerSequence& as_talker(const ArSequence& sequence) {
  return static_cast<const TalkerSequence&>(sequence);
}

// Calls visit(row, sequence, position) for every row of the batch.
template <typename Visit>
void for_each_row(const ArBatch& batch, Visit visit) {
  int64_t row = 0;
  for (const ArBatchItem& item : batch.items) {
    const TalkerSequence& sequence = as_talker(*item.sequence);
    for (int64_t i = 0; i < item.count; ++i, ++row) visit(row, sequence, item.start + i);
  }
}

// Numbers the maps that adapters may change.
Talker::Weights with_lora_maps(Talker::Weights weights) {
  LoraTargets& targets = weights.lora_targets = stage_lora_targets("talker");
  add_lora_targets("talker.text_projection", weights.text_projection, targets);
  add_lora_targets("talker.hidden_projection", weights.hidden_projection, targets);
  add_lora_targets("talker.model", weights.stack, targets);
  add_lora_target("talker.codec_head", weights.codec_head, targets);
  CodePredictorWeights& predictor = weights.code_predictor;
  add_lora_targets("talker.code_predictor.model", predictor.stack, targets);
  for (size_t g = 0; g < predictor.heads.size(); ++g) {
    add_lora_target("talker.code_predictor.lm_head." + std::to_string(g), predictor.heads[g],
                    targets);
  }
  return weights;
}

}  // namespace

Talker::Weights Talker::load(WeightLoader& loader, const Config& config) {
  const TalkerConfig& t = config.talker;
  const DecoderConfig& c = t.text;
  const DecoderConfig& thinker = config.thinker.text;
  Weights w;
  w.thinker_embed_tokens =
      loader.get("thinker.model.embed_tokens.weight", {thinker.vocab_size, thinker.hidden_size});
  w.text_projection = load_resize_mlp(loader, "talker.text_projection", t.thinker_hidden_size,
                                      c.intermediate_size, c.hidden_size);
  w.hidden_projection = load_resize_mlp(loader, "talker.hidden_projection", t.thinker_hidden_size,
                                        c.intermediate_size, c.hidden_size);
  w.codec_embedding =
      loader.get("talker.model.codec_embedding.weight", {c.vocab_size, c.hidden_size});
  w.stack = load_decoder_stack(loader, "talker.model", c);
  w.codec_head = load_linear(loader, "talker.codec_head", c.vocab_size, c.hidden_size, false);
  w.code_predictor = load_code_predictor(loader, t);
  return w;
}

Talker::Talker(const Config& config, Weights weights, DType kv_dtype)
    : config_(config),
      groups_(config.talker.num_code_groups),
      hidden_size_(config.talker.text.hidden_size),
      weights_(with_lora_maps(std::move(weights))),
      code_predictor_(config.talker, weights_.code_predictor),
      info_(decoder_info(config.talker.text, kv_dtype)) {
  info_.prompt_has_token_ids = false;
  info_.frame_s = static_cast<double>(config.code2wav.samples_per_frame()) / kSampleRate;
  info_.eos_token_ids = {static_cast<int32_t>(config.talker.codec_eos_token_id)};
  for (int64_t id = std::max<int64_t>(0, info_.vocab_size - kControlTokens); id < info_.vocab_size;
       ++id) {
    if (id != config.talker.codec_eos_token_id) {
      info_.suppressed_token_ids.push_back(static_cast<int32_t>(id));
    }
  }
}

void Talker::set_probe(Probe probe) {
  probe_ = probe;
  code_predictor_.set_probe(std::move(probe));
}

Result<std::unique_ptr<ArSequence>> Talker::start(const StageInput& input) {
  const auto& voices = config_.talker.speaker_id;
  const auto it = input.voice.empty() ? voices.begin()
                                      : std::ranges::find(voices, input.voice,
                                                          &std::pair<std::string, int64_t>::first);
  if (it == voices.end()) {
    return invalid_argument("The talker has no voice '" + input.voice + "'.").with_param("voice");
  }
  auto sequence =
      std::make_unique<TalkerSequence>(TalkerInputs(config_, static_cast<int32_t>(it->second)));
  TUTTI_RETURN_IF_ERROR(append(*sequence, input.payload, input.last));
  return std::unique_ptr<ArSequence>(std::move(sequence));
}

Status Talker::append(ArSequence& base, StagePayload payload, bool last) {
  TalkerSequence& sequence = as_talker(base);
  const auto length = payload.tensors.find("prompt_length");
  const int64_t prompt_length =
      length == payload.tensors.end() ? -1 : length->second.data<int32_t>()[0];
  if (const auto hidden = payload.tensors.find("hidden"); hidden != payload.tensors.end()) {
    sequence.media.push_back(hidden->second);
  }
  if (payload.tensors.contains("has_embeds")) {
    return invalid_argument(
        "Speech needs a prompt of text or token ids; this one has rows of embeddings.");
  }
  if (prompt_length >= 0) {
    TUTTI_ASSIGN_OR_RETURN(sequence.layout, take_media(payload, config_.thinker));
  }
  const bool began = sequence.inputs.prompt_length() >= 0;
  TUTTI_RETURN_IF_ERROR(sequence.inputs.append(payload.token_ids, prompt_length));
  if (last) sequence.inputs.complete();
  if (!began && sequence.inputs.prompt_length() >= 0 && !sequence.layout.items.empty()) {
    // The reference does not tell the talker that a clip's sound lies between its frames.
    PromptMedia media = sequence.inputs.kept_media(sequence.layout);
    media.audio_in_video = false;
    sequence.rope = media_positions(config_.thinker, sequence.inputs.position_ids(), media);
  }
  return Status();
}

int64_t Talker::prompt_length(const ArSequence& sequence) const {
  return as_talker(sequence).inputs.prompt_length();
}

bool Talker::input_ready(const ArSequence& sequence, int64_t i) const {
  return as_talker(sequence).inputs.text_ready(i);
}

bool Talker::ends_empty(const ArSequence& sequence) const {
  return as_talker(sequence).inputs.is_empty();
}

Tensor Talker::forward(OpContext& ctx, const ArBatch& batch) {
  const Tensor logits = ctx.workspace.tensor({batch.num_samples, info_.vocab_size});
  sample_hidden_ = ctx.workspace.tensor({batch.num_samples, hidden_size_});
  Workspace::Scope scratch(ctx.workspace);
  const Tensor positions = batch_positions(
      ctx, batch, [](const ArSequence& s) -> const RopeIndex& { return as_talker(s).rope; });
  if (probe_) probe_("talker.position_ids", positions);
  const Tensor x = ctx.workspace.tensor({batch.num_tokens, hidden_size_});
  embed_inputs(ctx, batch, x);
  const auto num_layers = weights_.stack.layers.size();
  weights_.stack.forward(ctx, x, positions, batch.paged, batch.kv_layers,
                         [&](size_t done, const Tensor& hidden) {
                           if (probe_ && done < num_layers) {
                             probe_("talker.hidden." + std::to_string(done), hidden);
                           }
                         });
  if (probe_) {
    probe_("talker.hidden." + std::to_string(num_layers), weights_.stack.norm.forward(ctx, x));
  }
  if (batch.num_samples > 0) {
    ops::copy(ctx, gather_sample_rows(ctx, batch, x), sample_hidden_);
    weights_.stack.norm.forward(ctx, sample_hidden_, sample_hidden_);
    const LoraScope lora(ctx, *batch.sample_lora);
    weights_.codec_head.forward(ctx, sample_hidden_, logits);
    if (probe_) probe_("talker.step_hidden", sample_hidden_);
  }
  return logits;
}

void Talker::embed_inputs(OpContext& ctx, const ArBatch& batch, const Tensor& x) {
  Workspace::Scope scratch(ctx.workspace);
  embed_text(ctx, batch, x);
  if (probe_) probe_("talker.text_rows", x);
  embed_media(ctx, batch, x);
  embed_controls(ctx, batch, x);
  embed_frames(ctx, batch, x);
}

void Talker::embed_text(OpContext& ctx, const ArBatch& batch, const Tensor& x) const {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor ids = ctx.workspace.tensor({batch.num_tokens}, DType::kI32);
  for_each_row(batch, [&](int64_t row, const TalkerSequence& sequence, int64_t position) {
    ids.data<int32_t>()[row] = sequence.inputs.row(position).text_id;
  });
  const Tensor words = ctx.workspace.tensor({batch.num_tokens, config_.talker.thinker_hidden_size});
  ops::embedding(ctx, ids, weights_.thinker_embed_tokens, words);
  const Tensor projected = weights_.text_projection.forward(ctx, words);
  ops::copy(ctx, projected, x);
}

void Talker::embed_media(OpContext& ctx, const ArBatch& batch, const Tensor& x) {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor index = ctx.workspace.tensor({batch.num_tokens}, DType::kI32);
  Tensor rows;  // most batches have none
  int64_t n = 0;
  for_each_row(batch, [&](int64_t row, const TalkerSequence& sequence, int64_t position) {
    int64_t media = sequence.inputs.row(position).media_row;
    if (media < 0) return;
    if (!rows.defined()) {
      rows = ctx.workspace.tensor({batch.num_tokens, config_.talker.thinker_hidden_size});
    }
    for (const Tensor& chunk : sequence.media) {
      if (media < chunk.dim(0)) {
        ops::copy(ctx, chunk.slice(media, media + 1), rows.slice(n, n + 1));
        index.data<int32_t>()[n++] = static_cast<int32_t>(row);
        return;
      }
      media -= chunk.dim(0);
    }
    TUTTI_CHECK(false, "hidden rows arrive with their tokens");
  });
  if (n == 0) return;
  media_lora_.pick(ctx.lora, {index.data<int32_t>(), static_cast<size_t>(n)});
  const LoraScope lora(ctx, media_lora_);
  const Tensor projected = weights_.hidden_projection.forward(ctx, rows.slice(0, n));
  ops::scatter_rows(ctx, projected, index.slice(0, n), x);
}

void Talker::embed_controls(OpContext& ctx, const ArBatch& batch, const Tensor& x) const {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor ids = ctx.workspace.tensor({batch.num_tokens}, DType::kI32);
  const Tensor index = ctx.workspace.tensor({batch.num_tokens}, DType::kI32);
  int64_t n = 0;
  for_each_row(batch, [&](int64_t row, const TalkerSequence& sequence, int64_t position) {
    const int32_t codec_id = sequence.inputs.row(position).codec_id;
    if (codec_id < 0) return;
    ids.data<int32_t>()[n] = codec_id;
    index.data<int32_t>()[n++] = static_cast<int32_t>(row);
  });
  if (n == 0) return;
  const Tensor rows = ctx.workspace.tensor({n, hidden_size_});
  ops::embedding(ctx, ids.slice(0, n), weights_.codec_embedding, rows);
  ops::scatter_add_rows(ctx, rows, index.slice(0, n), x);
}

void Talker::embed_frames(OpContext& ctx, const ArBatch& batch, const Tensor& x) const {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor first = ctx.workspace.tensor({batch.num_tokens}, DType::kI32);
  const Tensor rest = ctx.workspace.tensor({batch.num_tokens, groups_ - 1}, DType::kI32);
  const Tensor index = ctx.workspace.tensor({batch.num_tokens}, DType::kI32);
  int64_t n = 0;
  for_each_row(batch, [&](int64_t row, const TalkerSequence& sequence, int64_t position) {
    const int64_t frame = position - sequence.inputs.prompt_length();
    if (frame < 0) return;
    const int32_t* codes = sequence.codes.data() + frame * groups_;
    first.data<int32_t>()[n] = codes[0];
    std::copy_n(codes + 1, groups_ - 1, rest.data<int32_t>() + n * (groups_ - 1));
    index.data<int32_t>()[n++] = static_cast<int32_t>(row);
  });
  if (n == 0) return;
  const Tensor rows = ctx.workspace.tensor({n, hidden_size_});
  const Tensor residual = ctx.workspace.tensor({n, hidden_size_});
  ops::embedding(ctx, first.slice(0, n), weights_.codec_embedding, rows);
  ops::embedding_sum(ctx, rest.slice(0, n), code_predictor_.embeddings(),
                     code_predictor_.codebook_size(), 1.0f, residual);
  ops::add(ctx, rows, residual, rows);
  ops::scatter_add_rows(ctx, rows, index.slice(0, n), x);
}

void Talker::after_sample(OpContext& ctx, const ArBatch& batch, const Sampled& sampled) {
  Workspace::Scope scratch(ctx.workspace);
  const Tensor index = ctx.workspace.tensor({batch.num_samples}, DType::kI32);
  const Tensor ids = ctx.workspace.tensor({batch.num_samples}, DType::kI32);
  draws_.clear();
  int64_t n = 0;
  for (const ArBatchItem& item : batch.items) {
    if (!item.samples || sampled.ends[item.sample_row]) continue;
    index.data<int32_t>()[n] = static_cast<int32_t>(item.sample_row);
    ids.data<int32_t>()[n++] = sampled.token_ids[item.sample_row];
    draws_.push_back({sampled.params[item.sample_row]->temperature == 0.0f,
                      sampled.seeds[item.sample_row], item.generated.size(), item.lora});
  }
  if (n == 0) return;
  const Tensor hidden = ctx.workspace.tensor({n, hidden_size_});
  const Tensor first = ctx.workspace.tensor({n, hidden_size_});
  ops::gather_rows(ctx, sample_hidden_, index.slice(0, n), hidden);
  sample_hidden_ = Tensor();
  ops::embedding(ctx, ids.slice(0, n), weights_.codec_embedding, first);
  frame_codes_.resize(static_cast<size_t>(n * groups_));
  code_predictor_.predict(ctx, hidden, first, draws_, frame_codes_);
  int64_t row = 0;
  for (const ArBatchItem& item : batch.items) {
    if (!item.samples || sampled.ends[item.sample_row]) continue;
    int32_t* codes = frame_codes_.data() + row++ * groups_;
    codes[0] = sampled.token_ids[item.sample_row];
    TalkerSequence& sequence = as_talker(*item.sequence);
    // A recomputed frame replaces itself.
    sequence.codes.resize(item.generated.size() * static_cast<size_t>(groups_));
    sequence.codes.insert(sequence.codes.end(), codes, codes + groups_);
  }
}

StagePayload Talker::take_payload(ArSequence& base) {
  TalkerSequence& sequence = as_talker(base);
  std::vector<int32_t> codes;
  const auto frames = static_cast<int64_t>(sequence.codes.size()) / groups_;
  for (; sequence.published_frames < frames; ++sequence.published_frames) {
    const auto begin = sequence.codes.begin() + sequence.published_frames * groups_;
    // With ignore_eos a frame's first code can be the end token, which has no sound.
    if (*begin < config_.code2wav.codebook_size) {
      codes.insert(codes.end(), begin, begin + groups_);
    }
  }
  StagePayload payload;
  if (!codes.empty()) {
    const auto n = static_cast<int64_t>(codes.size()) / groups_;
    payload.tensors["codes"] = Tensor::from_vector(codes, {n, groups_});
  }
  return payload;
}

}  // namespace tutti::qwen3_omni_moe
