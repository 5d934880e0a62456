#include "engine/ar/logprobs.h"

#include <algorithm>
#include <cmath>

namespace tutti::ar {

namespace {

bool ranks_before(std::span<const float> logits, int32_t a, int32_t b) {
  const float x = logits[static_cast<size_t>(a)];
  const float y = logits[static_cast<size_t>(b)];
  return x > y || (x == y && a < b);
}

double log_sum_exp(std::span<const float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - largest));
  return largest + std::log(sum);
}

int32_t rank_of(std::span<const float> logits, int32_t token) {
  int32_t rank = 1;
  for (int32_t id = 0; id < static_cast<int32_t>(logits.size()); ++id)
    rank += ranks_before(logits, id, token) ? 1 : 0;
  return rank;
}

// The `n` likeliest, in falling order; n is small, so they are kept sorted by insertion.
std::vector<int32_t> likeliest(std::span<const float> logits, size_t n) {
  std::vector<int32_t> best;
  best.reserve(n + 1);
  for (int32_t id = 0; n > 0 && id < static_cast<int32_t>(logits.size()); ++id) {
    if (best.size() == n && !ranks_before(logits, id, best.back())) continue;
    const auto place = std::upper_bound(best.begin(), best.end(), id, [&](int32_t a, int32_t b) {
      return ranks_before(logits, a, b);
    });
    best.insert(place, id);
    if (best.size() > n) best.pop_back();
  }
  return best;
}

}  // namespace

std::vector<TokenLogprob> token_logprobs(std::span<const float> logits, int32_t chosen,
                                         int32_t top_n) {
  const double total = log_sum_exp(logits);
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(logits[static_cast<size_t>(id)] - total);
  };
  std::vector<TokenLogprob> out;
  out.push_back({chosen, logprob(chosen), rank_of(logits, chosen)});
  int32_t rank = 0;
  for (const int32_t id : likeliest(logits, static_cast<size_t>(top_n))) {
    ++rank;
    if (id != chosen) out.push_back({id, logprob(id), rank});
  }
  return out;
}

}  // namespace tutti::ar
