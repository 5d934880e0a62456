#include "engine/ar/sampler.h"

#include <algorithm>
#include <limits>

#include "base/random.h"
#include "engine/ar/logprobs.h"

namespace tutti::ar {

namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();
// Draws of the sampler; models that draw for themselves take other streams.
constexpr uint64_t kSamplerStream = 0;

void mask(std::span<float> logits, std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    if (id >= 0 && static_cast<size_t>(id) < logits.size())
      logits[static_cast<size_t>(id)] = kMasked;
  }
}

// A choice needs at least one finite logit and none that is NaN or +infinity.
bool can_choose(std::span<const float> logits) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  int wrong = 0;
  int finite = 0;
  for (const float logit : logits) {
    wrong |= static_cast<int>(!(logit <= kLargest));
    finite |= static_cast<int>(logit >= -kLargest);
  }
  return wrong == 0 && finite != 0;
}

}  // namespace

Sampler::Sampler(const ArModelInfo& info, int32_t max_rows)
    : info_(info),
      uniform_(Tensor::zeros({max_rows}, DType::kF32)),
      token_ids_(Tensor::zeros({max_rows}, DType::kI32)),
      params_(static_cast<size_t>(max_rows)),
      bad_(static_cast<size_t>(max_rows)),
      logprobs_(static_cast<size_t>(max_rows)) {}

void Sampler::sample(OpContext& ctx, const Tensor& logits, std::span<const SampleRow> rows) {
  num_rows_ = rows.size();
  raw_logits_.clear();
  const auto vocab = static_cast<size_t>(info_.vocab_size);
  const auto row_logits = [&](size_t i) {
    return std::span(logits.data<float>() + static_cast<int64_t>(i) * logits.row_stride(), vocab);
  };
  for (size_t i = 0; i < rows.size(); ++i) prepare_row(row_logits(i), rows[i], i);
  const auto count = static_cast<int64_t>(rows.size());
  ops::sample(ctx, logits, std::span(params_).first(rows.size()), uniform_.slice(0, count),
              token_ids_.slice(0, count));
  for (size_t i = 0; i < rows.size(); ++i) force_token(rows[i], i);
  const float* raw = raw_logits_.data();
  for (size_t i = 0; i < rows.size(); ++i) {
    logprobs_[i].clear();
    if (!rows[i].params->logprobs) continue;
    if (!is_bad(i))
      logprobs_[i] = token_logprobs({raw, vocab}, token_ids()[i], *rows[i].params->logprobs);
    raw += vocab;
  }
}

void Sampler::prepare_row(std::span<float> logits, const SampleRow& row, size_t i) {
  const SamplingParams& params = *row.params;
  if (params.logprobs) keep_raw(logits);
  if (row.index < params.min_tokens) {
    mask(logits, info_.eos_token_ids);
    mask(logits, params.stop_token_ids);
  }
  mask(logits, info_.suppressed_token_ids);
  for (const auto& [id, bias] : params.logit_bias) logits[static_cast<size_t>(id)] += bias;
  row.penalties->apply(logits);

  uniform_.data<float>()[i] =
      counter_uniform(row.seed, kSamplerStream, static_cast<uint64_t>(row.index));
  params_[i] = {params.temperature, std::max(params.top_k, 0), params.top_p, params.min_p};
  bad_[i] = can_choose(logits) ? 0 : 1;
  if (bad_[i] == 0) return;
  // The row takes part in the batch with harmless values; its choice is not used.
  std::fill(logits.begin(), logits.end(), 0.0f);
  params_[i] = {.temperature = 0};
}

// Comes after the choice, so that no mask or penalty keeps it away.
void Sampler::force_token(const SampleRow& row, size_t i) {
  const std::vector<int32_t>& forced = row.params->forced_token_ids;
  if (row.index >= std::ssize(forced)) return;
  token_ids_.data<int32_t>()[i] = forced[static_cast<size_t>(row.index)];
  bad_[i] = 0;
}

void Sampler::keep_raw(std::span<const float> logits) {
  raw_logits_.insert(raw_logits_.end(), logits.begin(), logits.end());
}

}  // namespace tutti::ar
