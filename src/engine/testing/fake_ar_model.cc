#include "engine/testing/fake_ar_model.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "base/random.h"

namespace tutti::testing {

namespace {

struct FakeSequence final : ArSequence {
  explicit FakeSequence(int64_t& alive) : alive_count(alive) { ++alive_count; }
  ~FakeSequence() override { --alive_count; }

  bool has(int32_t id) const { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

  int64_t& alive_count;
  std::vector<int32_t> ids;   // the prompt, then what came from upstream
  std::vector<bool> answers;  // of ids: from an earlier segment's answer
  bool last = false;
  int32_t picture = 0;
  int64_t exported = 0;
  std::vector<int32_t> extras;  // of positions [0, extras.size()); 0 where there is none
  std::vector<int32_t> new_positions;
  std::vector<int32_t> new_codes;
};

FakeSequence& fake(ArSequence& sequence) { return static_cast<FakeSequence&>(sequence); }
const FakeSequence& fake(const ArSequence& sequence) {
  return static_cast<const FakeSequence&>(sequence);
}

bool is_refused(const StagePayload& payload) {
  const auto& ids = payload.token_ids;
  return std::find(ids.begin(), ids.end(), kRefusedId) != ids.end();
}

bool is_picture_at(const FakeSequence& s, int64_t prompt, int64_t position) {
  const auto p = static_cast<size_t>(position);
  return position < prompt && is_picture(s.ids[p]) && !(p < s.answers.size() && s.answers[p]);
}

// What position `position` is fed with, in 24 bits, so that a float holds it.
int32_t input_of(const FakeSequence& s, const ArBatchItem& item, int64_t prompt, int64_t position) {
  if (position < prompt) {
    const auto id = static_cast<uint64_t>(s.ids[static_cast<size_t>(position)]);
    const auto shown = is_picture_at(s, prompt, position) ? static_cast<uint64_t>(s.picture) : 0;
    return static_cast<int32_t>(mix64(id ^ (shown << 32)) >> 40);
  }
  const auto i = static_cast<size_t>(position - prompt);
  const size_t upstream = static_cast<size_t>(prompt) + i;
  const uint64_t more = upstream < s.ids.size() ? static_cast<uint64_t>(s.ids[upstream]) + 1 : 0;
  return static_cast<int32_t>(mix64(static_cast<uint64_t>(item.generated[i]) + 4096 * more) >> 40);
}

}  // namespace

FakeArModel::FakeArModel(FakeArOptions options) : options_(std::move(options)) {
  info_.vocab_size = options_.vocab_size;
  info_.num_layers = 2;
  info_.num_key_value_heads = 1;
  info_.head_dim = 1;
  info_.max_model_len = options_.max_model_len;
  info_.eos_token_ids = options_.eos_token_ids;
  info_.suppressed_token_ids = options_.suppressed_token_ids;
  info_.frame_s = options_.frame_s;
  info_.prompt_has_token_ids = options_.prompt_has_token_ids && !options_.needs_upstream;
}

Result<std::unique_ptr<ArSequence>> FakeArModel::start(const StageInput& input) {
  if (is_refused(input.payload)) return invalid_argument("This prompt is refused.");
  auto sequence = std::make_unique<FakeSequence>(num_sequences_alive);
  sequence->ids = input.payload.token_ids;
  if (const auto picture = input.payload.tensors.find("picture");
      picture != input.payload.tensors.end())
    sequence->picture = picture->second.data<int32_t>()[0];
  sequence->ids.reserve(1024);
  sequence->extras.reserve(1024);
  sequence->new_positions.reserve(1024);
  sequence->new_codes.reserve(1024);
  sequence->last = input.last;
  return std::unique_ptr<ArSequence>(std::move(sequence));
}

Status FakeArModel::append(ArSequence& sequence, StagePayload payload, bool last) {
  if (is_refused(payload)) return invalid_argument("This chunk is refused.");
  FakeSequence& s = fake(sequence);
  s.ids.insert(s.ids.end(), payload.token_ids.begin(), payload.token_ids.end());
  s.last = last;
  return {};
}

Status FakeArModel::extend(ArSequence& sequence, std::span<const int32_t> generated,
                           const StageInput& input) {
  if (is_refused(input.payload)) return invalid_argument("This segment is refused.");
  FakeSequence& s = fake(sequence);
  s.answers.resize(s.ids.size(), false);
  s.ids.insert(s.ids.end(), generated.begin(), generated.end());
  s.answers.resize(s.ids.size(), true);
  s.ids.insert(s.ids.end(), input.payload.token_ids.begin(), input.payload.token_ids.end());
  s.exported = 0;
  s.new_positions.clear();
  s.new_codes.clear();
  return {};
}

int64_t FakeArModel::prompt_length(const ArSequence& sequence) const {
  const FakeSequence& s = fake(sequence);
  const auto length = static_cast<int64_t>(s.ids.size());
  if (options_.needs_upstream) return length < options_.min_prompt ? -1 : options_.min_prompt;
  return s.last ? length : -1;
}

std::span<const int32_t> FakeArModel::prompt_token_ids(const ArSequence& sequence) const {
  return std::span(fake(sequence).ids)
      .first(static_cast<size_t>(std::max<int64_t>(prompt_length(sequence), 0)));
}

bool FakeArModel::input_ready(const ArSequence& sequence, int64_t i) const {
  const FakeSequence& s = fake(sequence);
  if (!options_.needs_upstream || s.last) return true;
  return options_.min_prompt + i < static_cast<int64_t>(s.ids.size());
}

bool FakeArModel::ends_empty(const ArSequence& sequence) const {
  return fake(sequence).has(kEmptyId);
}

Tensor FakeArModel::forward(OpContext& ctx, const ArBatch& batch) {
  rows_computed += batch.num_tokens;
  if (options_.during_forward) options_.during_forward(batch.num_tokens);
  max_rows_seen = std::max(max_rows_seen, batch.num_tokens);
  max_sequences_seen = std::max(max_sequences_seen, static_cast<int64_t>(batch.items.size()));
  for (const ArBatchItem& item : batch.items) {
    if (fake(*item.sequence).has(kThrowId)) throw std::runtime_error("the fake model throws");
  }
  const Tensor logits =
      ctx.workspace.tensor({std::max<int64_t>(batch.num_samples, 1), info_.vocab_size});
  for (size_t i = 0; i < batch.items.size(); ++i)
    forward_item(batch, static_cast<int64_t>(i), logits);
  return logits.slice(0, batch.num_samples);
}

// The cache of layer 0 holds inputs, that of layer 1 positions.
void FakeArModel::forward_item(const ArBatch& batch, int64_t index, const Tensor& logits) {
  const ArBatchItem& item = batch.items[static_cast<size_t>(index)];
  FakeSequence& s = fake(*item.sequence);
  const int64_t prompt = prompt_length(s);
  float* inputs = batch.kv_layers[0].k.data<float>();
  float* positions = batch.kv_layers[1].v.data<float>();
  const int32_t begin = batch.paged.query_start.data<int32_t>()[index];
  TUTTI_CHECK(batch.paged.query_start.data<int32_t>()[index + 1] - begin == item.count,
              "rows of an item are its positions");
  for (int64_t j = 0; j < item.count; ++j) {
    const int32_t slot = batch.paged.slots.data<int32_t>()[begin + j];
    inputs[slot] = static_cast<float>(input_of(s, item, prompt, item.start + j));
    positions[slot] = static_cast<float>(item.start + j);
  }
  const int64_t end = item.start + item.count;
  for (; item.wants_payload && s.exported < end; ++s.exported)
    s.new_positions.push_back(static_cast<int32_t>(s.exported));

  const int64_t block_size = batch.kv_layers[0].k.dim(2);
  const Tensor table = batch.paged.block_tables.select(index);
  uint64_t history = 0;
  const int32_t length = batch.paged.kv_lengths.data<int32_t>()[index];
  TUTTI_CHECK(length == item.start + item.count,
              "the cache holds all positions up to the last row");
  for (int32_t p = 0; p < length; ++p) {
    const int64_t slot = table.data<int32_t>()[p / block_size] * block_size + p % block_size;
    TUTTI_CHECK(positions[slot] == static_cast<float>(p),
                "a block table leads to another position");
    history = mix64(history ^ static_cast<uint64_t>(inputs[slot]));
    if (p < static_cast<int32_t>(s.extras.size())) continue;
    TUTTI_CHECK(p >= item.start, "an extra is missing of a position that was skipped");
    s.extras.push_back(is_picture_at(s, prompt, p) ? static_cast<int32_t>(history >> 40) : 0);
  }
  if (!item.samples) return;
  float* row = logits.data<float>() + item.sample_row * logits.row_stride();
  const bool is_nan = s.has(kNanId) && item.generated.size() >= 2;
  for (int64_t v = 0; v < info_.vocab_size; ++v) {
    row[v] = is_nan ? std::numeric_limits<float>::quiet_NaN()
                    : options_.logit_scale * counter_uniform(history, 7, static_cast<uint64_t>(v));
  }
}

void FakeArModel::after_sample(OpContext&, const ArBatch& batch, const Sampled& sampled) {
  for (const ArBatchItem& item : batch.items) {
    if (!item.samples) continue;
    const auto row = static_cast<size_t>(item.sample_row);
    if (sampled.ends[row] != 0 || !item.wants_payload) continue;
    auto& codes = fake(*item.sequence).new_codes;
    codes.push_back(sampled.token_ids[row]);
    codes.push_back(
        static_cast<int32_t>(counter_random(sampled.seeds[row], 1, item.generated.size()) >> 40));
  }
}

StagePayload FakeArModel::take_payload(ArSequence& sequence) {
  FakeSequence& s = fake(sequence);
  StagePayload payload;
  payload.token_ids = s.new_positions;
  const auto n = static_cast<int64_t>(s.new_positions.size());
  if (n > 0) payload.tensors.emplace("positions", Tensor::from_vector(s.new_positions, {n, 1}));
  std::vector<int32_t> extras;
  for (const int32_t p : s.new_positions) {
    if (is_picture_at(s, prompt_length(s), p)) extras.push_back(s.extras[static_cast<size_t>(p)]);
  }
  const auto pictures = static_cast<int64_t>(extras.size());
  if (pictures > 0) payload.tensors.emplace("extras", Tensor::from_vector(extras, {pictures, 1}));
  const auto frames = static_cast<int64_t>(s.new_codes.size()) / 2;
  if (frames > 0) payload.tensors.emplace("codes", Tensor::from_vector(s.new_codes, {frames, 2}));
  s.new_positions.clear();
  s.new_codes.clear();
  return payload;
}

MediaHash FakeArModel::content_hash(const ArSequence& sequence, int64_t begin, int64_t end) const {
  const FakeSequence& s = fake(sequence);
  MediaHash hash;
  for (int64_t p = begin; p < end; ++p) {
    if (!is_picture_at(s, prompt_length(s), p)) continue;
    hash.low =
        mix64(hash.low ^ static_cast<uint64_t>(p) ^ (static_cast<uint64_t>(s.picture) << 32));
  }
  return hash;
}

Tensor FakeArModel::take_extra(ArSequence& sequence, int64_t begin, int64_t end) {
  const FakeSequence& s = fake(sequence);
  std::vector<int32_t> extras;
  for (int64_t p = begin; p < end; ++p) {
    if (is_picture_at(s, prompt_length(s), p)) extras.push_back(s.extras[static_cast<size_t>(p)]);
  }
  if (extras.empty()) return {};
  return Tensor::from_vector(extras, {static_cast<int64_t>(extras.size()), 1});
}

void FakeArModel::skip(ArSequence& sequence, int64_t positions, std::span<const Tensor> extras) {
  FakeSequence& s = fake(sequence);
  std::vector<int32_t> all;
  for (const Tensor& extra : extras) {
    if (!extra.defined()) continue;
    all.insert(all.end(), extra.data<int32_t>(), extra.data<int32_t>() + extra.num_elements());
  }
  size_t next = 0;
  for (int64_t p = 0; p < positions; ++p) {
    const bool picture = is_picture_at(s, prompt_length(s), p);
    TUTTI_CHECK(!picture || next < all.size(), "an extra is missing");
    const int32_t extra = picture ? all[next++] : 0;
    if (p < static_cast<int64_t>(s.extras.size())) {
      TUTTI_CHECK(s.extras[static_cast<size_t>(p)] == extra, "an extra differs");
    } else {
      s.extras.push_back(extra);
    }
  }
  TUTTI_CHECK(next == all.size(), "an extra is too many");
}

}  // namespace tutti::testing
