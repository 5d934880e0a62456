#include "engine/ar/penalties.h"

namespace tutti::ar {

void Penalties::begin(const SamplingParams& params, int64_t vocab_size,
                      std::span<const int32_t> prompt_ids) {
  repetition_ = params.repetition_penalty;
  frequency_ = params.frequency_penalty;
  presence_ = params.presence_penalty;
  seen_.clear();
  active_ = repetition_ != 1 || frequency_ != 0 || presence_ != 0;
  if (!active_) return;
  output_count_.assign(static_cast<size_t>(vocab_size), -1);
  seen_.reserve(static_cast<size_t>(vocab_size));
  if (repetition_ == 1) return;
  for (const int32_t id : prompt_ids) {
    if (id < 0 || id >= vocab_size || output_count_[static_cast<size_t>(id)] == 0) continue;
    output_count_[static_cast<size_t>(id)] = 0;
    seen_.push_back(id);
  }
}

void Penalties::add(int32_t token_id) {
  if (!active_) return;
  int32_t& count = output_count_[static_cast<size_t>(token_id)];
  if (count < 0) {
    seen_.push_back(token_id);
    count = 0;
  }
  ++count;
}

void Penalties::apply(std::span<float> logits) const {
  for (const int32_t id : seen_) {
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / repetition_ : logit * repetition_;
    const int32_t count = output_count_[static_cast<size_t>(id)];
    if (count > 0) logit -= frequency_ * static_cast<float>(count) + presence_;
  }
}

}  // namespace tutti::ar
