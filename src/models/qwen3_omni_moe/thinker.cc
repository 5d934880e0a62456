#include "models/qwen3_omni_moe/thinker.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "models/qwen3_omni_moe/lora_targets.h"
#include "models/qwen3_omni_moe/media_positions.h"
#include "models/qwen3_omni_moe/weight_map.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"

namespace tutti::qwen3_omni_moe {

namespace {

constexpr int32_t kNoToken = -1;

ThinkerSequence& as_thinker(ArSequence& sequence) {
  return static_cast<ThinkerSequence&>(sequence);
}
const ThinkerSequence& as_thinker(const ArSequence& sequence) {
  return static_cast<const ThinkerSequence&>(sequence);
}

// Id of the token at a position: the prompt's, then the generated ones.
int32_t token_at(const ArBatchItem& item, int64_t position) {
  const auto& prompt = as_thinker(*item.sequence).prompt;
  const auto prompt_length = static_cast<int64_t>(prompt.size());
  return position < prompt_length ? prompt[position] : item.generated[position - prompt_length];
}

// Numbers the maps that adapters may change.
Thinker::Weights with_lora_maps(Thinker::Weights weights) {
  weights.lora_targets = stage_lora_targets("thinker");
  add_lora_targets("thinker.model", weights.stack, weights.lora_targets);
  add_lora_target("thinker.lm_head", weights.lm_head, weights.lora_targets);
  return weights;
}

}  // namespace

int64_t ThinkerSequence::rows_before(int64_t position) const {
  if (media_before.empty()) return 0;
  return media_before[std::min(static_cast<size_t>(position), media_before.size() - 1)];
}

Tensor ThinkerSequence::given_row(int64_t position) const {
  for (const GivenRows& run : given) {
    const int64_t row = position - run.first;
    if (row >= 0 && row < run.rows.rows()) return run.rows.slice(row, row + 1);
  }
  return {};
}

Thinker::Weights Thinker::load(WeightLoader& loader, const ThinkerConfig& config) {
  const DecoderConfig& c = config.text;
  Weights w;
  w.embed_tokens = loader.get("thinker.model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  w.stack = load_decoder_stack(loader, "thinker.model", c);
  if (config.tie_word_embeddings) {
    w.lm_head.weight = w.embed_tokens;
  } else {
    w.lm_head = load_linear(loader, "thinker.lm_head", c.vocab_size, c.hidden_size, false);
  }
  w.towers = load_towers(loader, config);
  return w;
}

Thinker::Thinker(const ThinkerConfig& config, int64_t accept_hidden_layer, Weights weights,
                 std::vector<int32_t> eos_token_ids, DType kv_dtype, int64_t mm_cache_bytes)
    : config_(config),
      accept_hidden_layer_(accept_hidden_layer),
      weights_(with_lora_maps(std::move(weights))),
      media_encoder_(config, std::move(weights_.towers), mm_cache_bytes),
      info_(decoder_info(config.text, kv_dtype)) {
  info_.eos_token_ids = std::move(eos_token_ids);
}

Result<std::unique_ptr<ArSequence>> Thinker::start(const StageInput& input) {
  auto sequence = std::make_unique<ThinkerSequence>();
  TUTTI_RETURN_IF_ERROR(add_input(input, *sequence));
  if (sequence->prompt.empty())
    return invalid_argument("The prompt is empty; expected at least one token.");
  return std::unique_ptr<ArSequence>(std::move(sequence));
}

Status Thinker::extend(ArSequence& base, std::span<const int32_t> generated,
                       const StageInput& input) {
  ThinkerSequence& sequence = as_thinker(base);
  // An answer has no rows to accept.
  if (sequence.accepted_until == std::ssize(sequence.prompt))
    sequence.accepted_until += std::ssize(generated);
  add_ids(generated, false, sequence);
  sequence.exported = sequence.exported_rows = 0;
  sequence.announced = false;
  sequence.new_ids.clear();
  return add_input(input, sequence);
}

// One per position: the tokens, or kNoToken for each given row.
Result<std::vector<int32_t>> Thinker::input_ids(const StageInput& input) const {
  const auto given = input.payload.tensors.find("embeds");
  if (given != input.payload.tensors.end()) {
    const Tensor& rows = given->second;
    if (rows.rank() != 2 || rows.cols() != config_.text.hidden_size ||
        rows.dtype() != DType::kF32 || !input.payload.token_ids.empty())
      return internal_error("The embeddings of a prompt have the wrong shape or type.");
    return std::vector<int32_t>(static_cast<size_t>(rows.rows()), kNoToken);
  }
  for (int32_t id : input.payload.token_ids) {
    if (id < 0 || id >= info_.vocab_size) {
      return invalid_argument("The prompt has token id " + std::to_string(id) +
                              "; this model has 0 to " + std::to_string(info_.vocab_size - 1) +
                              ".");
    }
  }
  return input.payload.token_ids;
}

// Puts input behind all that the sequence has.
Status Thinker::add_input(const StageInput& input, ThinkerSequence& sequence) const {
  TUTTI_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, input_ids(input));
  TUTTI_ASSIGN_OR_RETURN(PromptMedia media, take_media(input.payload, config_));
  std::vector<MediaRow> rows;
  if (!media.items.empty()) {
    TUTTI_ASSIGN_OR_RETURN(rows, locate_media(config_, ids, media));
    for (const MediaInput& item : media.items) {
      if (!item.features.defined()) return internal_error("A media item has no features.");
    }
  }
  const auto length = std::ssize(sequence.prompt);
  const bool sees = std::ranges::any_of(
      media.items, [](const MediaInput& item) { return item.kind != MediaKind::kAudio; });
  if (sees) {
    const RopeIndex next = media_positions(config_, ids, media, sequence.rope.at(0, length));
    sequence.rope = sequence.rope.followed_by(length, next, std::ssize(ids));
  }
  if (const auto given = input.payload.tensors.find("embeds"); given != input.payload.tensors.end())
    sequence.given.push_back({length, given->second});
  add_ids(ids, true, sequence);
  add_media(std::move(media), rows, sequence);
  return Status();
}

// Placeholders are those of inputs; an answer's ids are text.
void Thinker::add_ids(std::span<const int32_t> ids, bool is_input,
                      ThinkerSequence& sequence) const {
  const auto is_placeholder = [&](int32_t id) { return is_input && config_.is_media_token(id); };
  auto& before = sequence.media_before;
  if (!before.empty() || std::ranges::any_of(ids, is_placeholder)) {
    if (before.empty()) before.assign(sequence.prompt.size() + 1, 0);
    before.reserve(before.size() + ids.size());
    for (const int32_t id : ids) before.push_back(before.back() + (is_placeholder(id) ? 1 : 0));
  }
  sequence.prompt.insert(sequence.prompt.end(), ids.begin(), ids.end());
  if (!sequence.media_rows.empty()) sequence.media_rows.resize(sequence.prompt.size());
}

// rows: of the positions added last.
void Thinker::add_media(PromptMedia media, std::span<const MediaRow> rows,
                        ThinkerSequence& sequence) const {
  if (media.items.empty()) return;
  const auto known = static_cast<int32_t>(sequence.media.size());
  sequence.media_rows.resize(sequence.prompt.size() - rows.size());
  for (MediaRow row : rows) {
    if (row.item >= 0) row.item += known;
    sequence.media_rows.push_back(row);
  }
  for (MediaInput& item : media.items) {
    sequence.media.push_back({item, nullptr});
    item.features = Tensor();
    sequence.layout.items.push_back(std::move(item));
  }
  sequence.layout.audio_in_video |= media.audio_in_video;
}

Status Thinker::append(ArSequence&, StagePayload payload, bool) {
  if (payload.empty()) return Status();
  return internal_error("The thinker takes its whole prompt at once.");
}

int64_t Thinker::prompt_length(const ArSequence& sequence) const {
  return static_cast<int64_t>(as_thinker(sequence).prompt.size());
}

std::span<const int32_t> Thinker::prompt_token_ids(const ArSequence& sequence) const {
  return as_thinker(sequence).prompt;
}

Tensor Thinker::forward(OpContext& ctx, const ArBatch& batch) {
  const Tensor logits = ctx.workspace.tensor({batch.num_samples, info_.vocab_size});
  Workspace::Scope scratch(ctx.workspace);
  const Tensor ids = ctx.workspace.tensor({batch.num_tokens}, DType::kI32);
  int32_t* id = ids.data<int32_t>();
  for (const ArBatchItem& item : batch.items) {
    // A given row takes the place of whatever is looked up for it.
    for (int64_t i = 0; i < item.count; ++i) *id++ = std::max(token_at(item, item.start + i), 0);
  }
  const Tensor positions = batch_positions(
      ctx, batch, [](const ArSequence& s) -> const RopeIndex& { return as_thinker(s).rope; });
  if (probe_) probe_("position_ids", positions);
  const Tensor x = ctx.workspace.tensor({batch.num_tokens, config_.text.hidden_size});
  ops::embedding(ctx, ids, weights_.embed_tokens, x);
  merge_given(ctx, batch, x);
  encode_media(ctx, batch);
  merge_media(ctx, x);
  const auto num_layers = weights_.stack.layers.size();
  weights_.stack.forward(ctx, x, positions, batch.paged, batch.kv_layers,
                         [&](size_t done, const Tensor& hidden) {
                           if (probe_ && done < num_layers)
                             probe_("hidden." + std::to_string(done), hidden);
                           if (static_cast<int64_t>(done) == accept_hidden_layer_)
                             accept_hidden(ctx, batch, hidden);
                           if (done > 0) add_deepstack(ctx, done - 1, hidden);
                         });
  if (probe_) {
    probe_("hidden." + std::to_string(num_layers), weights_.stack.norm.forward(ctx, x));
  }
  for (const ArBatchItem& item : batch.items) {
    if (item.wants_payload) export_ids(item);
  }
  if (batch.num_samples > 0) {
    const Tensor rows = gather_sample_rows(ctx, batch, x);
    weights_.stack.norm.forward(ctx, rows, rows);
    const LoraScope lora(ctx, *batch.sample_lora);
    weights_.lm_head.forward(ctx, rows, logits);
  }
  return logits;
}

// Encodes what the batch's positions need and notes where its rows go.
void Thinker::encode_media(OpContext& ctx, const ArBatch& batch) {
  media_runs_.clear();
  std::vector<MediaState*> wanted;  // stays empty, and off the heap, while decoding
  for (const ArBatchItem& item : batch.items) {
    ThinkerSequence& sequence = as_thinker(*item.sequence);
    const auto positions = static_cast<int64_t>(sequence.media_rows.size());
    for (int64_t p = item.start; p < std::min(item.start + item.count, positions); ++p) {
      const int32_t i = sequence.media_rows[p].item;
      if (i < 0) continue;
      MediaState* state = &sequence.media[i];
      const bool known = std::ranges::find(wanted, state) != wanted.end();
      if (state->encoded == nullptr && !known) wanted.push_back(state);
    }
  }
  if (!wanted.empty()) media_encoder_.encode(ctx, wanted, probe_);
  int64_t first_row = 0;
  for (const ArBatchItem& item : batch.items) {
    const ThinkerSequence& sequence = as_thinker(*item.sequence);
    const auto positions = static_cast<int64_t>(sequence.media_rows.size());
    for (int64_t p = item.start; p < std::min(item.start + item.count, positions); ++p) {
      const MediaRow at = sequence.media_rows[p];
      if (at.item < 0) continue;
      const EncodedMedia* media = sequence.media[at.item].encoded.get();
      const int64_t row = first_row + p - item.start;
      MediaRun* last = media_runs_.empty() ? nullptr : &media_runs_.back();
      if (last != nullptr && last->media == media && last->media_row + last->count == at.row &&
          last->batch_row + last->count == row) {
        ++last->count;
      } else {
        media_runs_.push_back({media, at.row, row, 1});
      }
    }
    first_row += item.count;
  }
}

void Thinker::merge_given(OpContext& ctx, const ArBatch& batch, const Tensor& x) const {
  int64_t first_row = 0;
  for (const ArBatchItem& item : batch.items) {
    for (const auto& [first, rows] : as_thinker(*item.sequence).given) {
      const int64_t begin = std::max(first, item.start);
      const int64_t end = std::min(first + rows.rows(), item.start + item.count);
      if (begin >= end) continue;
      const int64_t to = first_row + begin - item.start;
      ops::copy(ctx, rows.slice(begin - first, end - first), x.slice(to, to + end - begin));
    }
    first_row += item.count;
  }
}

void Thinker::merge_media(OpContext& ctx, const Tensor& x) const {
  for (const MediaRun& run : media_runs_) {
    ops::copy(ctx, run.media->embeds.slice(run.media_row, run.media_row + run.count),
              x.slice(run.batch_row, run.batch_row + run.count));
  }
}

// Adds the rows of a level to those of pictures and clips (sounds have none).
void Thinker::add_deepstack(OpContext& ctx, size_t level, const Tensor& x) const {
  bool any = false;
  for (const MediaRun& run : media_runs_) {
    if (level >= run.media->deepstack.size()) continue;
    const Tensor rows = x.slice(run.batch_row, run.batch_row + run.count);
    ops::add(ctx, rows, run.media->deepstack[level].slice(run.media_row, run.media_row + run.count),
             rows);
    any = true;
  }
  if (any && probe_) probe_("layer_input." + std::to_string(level + 1), x);
}

void Thinker::export_ids(const ArBatchItem& item) const {
  ThinkerSequence& sequence = as_thinker(*item.sequence);
  const int64_t end = item.start + item.count;
  for (; sequence.exported < end; ++sequence.exported) {
    const int64_t p = sequence.exported;
    const int32_t id = token_at(item, p);
    // In an earlier answer a placeholder's id stands for no row; that part is not spoken.
    const bool stray = p < std::ssize(sequence.prompt) && config_.is_media_token(id) &&
                       !sequence.is_placeholder(p);
    sequence.new_ids.push_back(stray ? 0 : id);
  }
}

// Where the rows of placeholders are kept, made when the first is needed; made anew, with those
// that are there, for a further segment, because payloads that are out share the old ones.
Tensor Thinker::accepted_rows(ThinkerSequence& sequence) const {
  const int64_t all = sequence.media_before.back();
  const Tensor old = sequence.accepted;
  if (old.defined() && old.rows() == all) return old;
  sequence.accepted = Tensor::empty({all, config_.text.hidden_size}, DType::kF32);
  if (old.defined()) std::memcpy(sequence.accepted.raw_data(), old.raw_data(), old.bytes());
  return sequence.accepted;
}

void Thinker::accept_hidden(OpContext& ctx, const ArBatch& batch, const Tensor& x) const {
  int64_t first_row = 0;
  for (const ArBatchItem& item : batch.items) {
    const int64_t row = first_row - item.start;  // of position p: row + p
    first_row += item.count;
    ThinkerSequence& sequence = as_thinker(*item.sequence);
    const auto prompt_length = static_cast<int64_t>(sequence.prompt.size());
    const int64_t end = std::min(item.start + item.count, prompt_length);
    const int64_t begin = sequence.accepted_until;
    if (!(item.wants_payload || item.keeps_extras) || end <= begin) continue;
    TUTTI_CHECK(item.start <= begin, "every position is computed or skipped");
    sequence.accepted_until = end;
    const int64_t n = sequence.rows_before(end) - sequence.rows_before(begin);
    if (n == 0) continue;
    Workspace::Scope scratch(ctx.workspace);
    const Tensor index = ctx.workspace.tensor({n}, DType::kI32);
    int32_t* to = index.data<int32_t>();
    for (int64_t p = begin; p < end; ++p) {
      if (sequence.is_placeholder(p)) *to++ = static_cast<int32_t>(row + p);
    }
    const Tensor rows =
        accepted_rows(sequence).slice(sequence.rows_before(begin), sequence.rows_before(end));
    ops::gather_rows(ctx, x, index, rows);
    // The reference's last hidden state is the normed one.
    if (accept_hidden_layer_ == info_.num_layers) weights_.stack.norm.forward(ctx, rows, rows);
  }
}

StagePayload Thinker::take_payload(ArSequence& base) {
  ThinkerSequence& sequence = as_thinker(base);
  StagePayload payload;
  if (!std::exchange(sequence.announced, true)) {
    payload.tensors["prompt_length"] = Tensor::from_vector(
        std::vector<int32_t>{static_cast<int32_t>(sequence.prompt.size())}, {1});
    put_media(sequence.layout, false, payload);
    if (!sequence.given.empty()) payload.tensors["has_embeds"] = Tensor::zeros({1}, DType::kI32);
  }
  payload.token_ids = std::exchange(sequence.new_ids, {});
  const int64_t rows = sequence.rows_before(sequence.exported);
  if (rows > sequence.exported_rows) {
    payload.tensors["hidden"] = sequence.accepted.slice(sequence.exported_rows, rows);
    sequence.exported_rows = rows;
  }
  return payload;
}

// --- the prefix cache

MediaHash Thinker::content_hash(const ArSequence& base, int64_t begin, int64_t end) const {
  const ThinkerSequence& sequence = as_thinker(base);
  MediaHash hash;
  for (int64_t p = begin; p < end; ++p) {
    const bool media = sequence.is_placeholder(p);
    const Tensor given = sequence.given_row(p);
    std::array<uint64_t, 3> at{};
    bool moved = false;
    for (int axis = 0; axis < 3; ++axis) {
      const float position = sequence.rope.at(axis, p);
      at[static_cast<size_t>(axis)] = std::bit_cast<uint32_t>(position);
      moved |= position != static_cast<float>(p);
    }
    if (!media && !moved && !given.defined()) continue;  // text as in a prompt without media
    const MediaRow row =
        media && !sequence.media_rows.empty() ? sequence.media_rows[p] : MediaRow{};
    MediaHash item = row.item < 0 ? MediaHash{} : sequence.media[row.item].input.hash;
    if (given.defined()) item = hash_media(given, {});
    const uint64_t what = media ? 1 : given.defined() ? 2 : 0;
    const std::array<uint64_t, 9> numbers = {hash.high, hash.low, at[0],
                                             at[1],     at[2],    what,
                                             item.high, item.low, static_cast<uint64_t>(row.row)};
    hash = hash_numbers(numbers);
  }
  return hash;
}

Tensor Thinker::take_extra(ArSequence& base, int64_t begin, int64_t end) {
  ThinkerSequence& sequence = as_thinker(base);
  const int64_t from = sequence.rows_before(begin), to = sequence.rows_before(end);
  if (from == to) return {};
  TUTTI_CHECK(sequence.accepted_until >= std::min<int64_t>(end, std::ssize(sequence.prompt)),
              "extras are taken of computed positions that keep them");
  // A copy, so that a block that stays does not keep the rows of all others.
  return sequence.accepted.slice(from, to).clone();
}

void Thinker::skip(ArSequence& base, int64_t positions, std::span<const Tensor> extras) {
  ThinkerSequence& sequence = as_thinker(base);
  if (positions <= sequence.accepted_until) return;
  const int64_t known = sequence.rows_before(sequence.accepted_until);
  sequence.accepted_until =
      std::min<int64_t>(positions, static_cast<int64_t>(sequence.prompt.size()));
  int64_t row = 0;
  for (const Tensor& extra : extras) {
    if (!extra.defined()) continue;
    const int64_t first = std::clamp<int64_t>(known - row, 0, extra.rows());
    if (first < extra.rows()) {
      const Tensor from = extra.slice(first, extra.rows());
      const Tensor to = accepted_rows(sequence).slice(row + first, row + extra.rows());
      std::memcpy(to.raw_data(), from.raw_data(), from.bytes());
    }
    row += extra.rows();
  }
  TUTTI_CHECK(row == sequence.rows_before(positions), "a row is kept for every placeholder");
}

}  // namespace tutti::qwen3_omni_moe
