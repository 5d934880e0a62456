#include "media/time_stretch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace tutti {
namespace {

constexpr double kFrame_s = 0.030;
constexpr double kSearch_s = 0.008;  // more than a pitch period of most voices

}  // namespace

TimeStretch::TimeStretch(int32_t sample_rate, double speed)
    : speed_(speed),
      hop_(std::llround(kFrame_s * sample_rate / 2)),
      search_(std::llround(kSearch_s * sample_rate)),
      window_(static_cast<size_t>(2 * hop_)),
      tail_(static_cast<size_t>(hop_), 0.0f) {
  // Hann: two that overlap by half add up to one.
  for (size_t i = 0; i < window_.size(); ++i) {
    const double phase =
        2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(2 * hop_);
    window_[i] = static_cast<float>(0.5 - 0.5 * std::cos(phase));
  }
}

std::vector<float> TimeStretch::append(std::span<const float> samples) {
  if (speed_ == 1) return {samples.begin(), samples.end()};
  input_.insert(input_.end(), samples.begin(), samples.end());
  return run(std::numeric_limits<int64_t>::max());
}

std::vector<float> TimeStretch::finish() {
  if (speed_ == 1) return {};
  const int64_t end = input_begin_ + static_cast<int64_t>(input_.size());
  const auto whole = std::llround(static_cast<double>(end) / speed_);
  // Silence for the last frames to reach into.
  const auto reach = static_cast<double>(4 * hop_ + 2 * search_) * std::max(1.0, speed_);
  input_.resize(input_.size() + static_cast<size_t>(reach), 0.0f);
  const int64_t given = next_frame_ * hop_;
  std::vector<float> out = run(whole);
  out.resize(
      static_cast<size_t>(std::clamp<int64_t>(whole - given, 0, static_cast<int64_t>(out.size()))));
  return out;
}

// Where the frame that shall begin near `wanted` continues the last one best: the greatest
// correlation with what would have followed it.
int64_t TimeStretch::best_start(int64_t wanted) const {
  const int64_t low = std::max(input_begin_, wanted - search_);
  const float* base = input_.data() - input_begin_;
  int64_t best = wanted;
  double best_score = -1e30;
  for (int64_t start = low; start <= wanted + search_; ++start) {
    double dot = 0;
    double energy = 1e-9;
    for (int64_t i = 0; i < hop_; i += 2) {
      const double x = base[start + i];
      dot += x * base[continuation_ + i];
      energy += x * x;
    }
    const double score = dot / std::sqrt(energy);
    if (score > best_score) {
      best_score = score;
      best = start;
    }
  }
  return best;
}

// Frames until the output has `until` samples or the input is used up.
std::vector<float> TimeStretch::run(int64_t until) {
  std::vector<float> out;
  while (next_frame_ * hop_ < until) {
    const auto wanted = std::llround(static_cast<double>(next_frame_ * hop_) * speed_);
    const int64_t end = input_begin_ + static_cast<int64_t>(input_.size());
    if (std::max<int64_t>(wanted + search_, continuation_) + 2 * hop_ > end) break;
    const int64_t start = next_frame_ == 0 ? 0 : best_start(wanted);
    const float* frame = input_.data() + (start - input_begin_);
    for (size_t i = 0; i < tail_.size(); ++i) {
      // The first frame has no predecessor to fade from.
      const float rise = next_frame_ == 0 ? 1.0f : window_[i];
      out.push_back(tail_[i] + rise * frame[i]);
    }
    for (size_t i = 0; i < tail_.size(); ++i) {
      tail_[i] = window_[tail_.size() + i] * frame[tail_.size() + i];
    }
    continuation_ = start + hop_;
    ++next_frame_;
    forget_used();
  }
  return out;
}

// Nothing before the next search window, or before what the last frame would go on with, is needed
// again.
void TimeStretch::forget_used() {
  const auto next = static_cast<int64_t>(static_cast<double>(next_frame_ * hop_) * speed_);
  const int64_t keep = std::min(next - search_ - 1, continuation_);
  const int64_t count =
      std::clamp<int64_t>(keep - input_begin_, 0, static_cast<int64_t>(input_.size()));
  input_.erase(input_.begin(), input_.begin() + count);
  input_begin_ += count;
}

}  // namespace tutti
