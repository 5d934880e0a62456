#include "serve/voice_activity.h"

#include <algorithm>
#include <cmath>

namespace tutti::serve {
namespace {

constexpr int32_t kFramesToBegin = 3;  // 60 ms: a click is shorter
// Speech is this many times louder than the noise floor at threshold 0.5.
constexpr double kOverNoise = 4;
// Nothing below this level is speech, however quiet the room.
constexpr double kLeastLevel = 0.008;

}  // namespace

VoiceActivity::VoiceActivity(int32_t sample_rate, VoiceActivityOptions options)
    : options_(options), frame_samples_(static_cast<size_t>(sample_rate * kFrame_ms / 1000)) {}

std::vector<VoiceActivity::Event> VoiceActivity::append(std::span<const float> samples) {
  std::vector<Event> events;
  pending_.insert(pending_.end(), samples.begin(), samples.end());
  size_t at = 0;
  for (; at + frame_samples_ <= pending_.size(); at += frame_samples_) {
    double energy = 0;
    for (size_t i = 0; i < frame_samples_; ++i)
      energy += double{pending_[at + i]} * pending_[at + i];
    frame(std::sqrt(energy / static_cast<double>(frame_samples_)), events);
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(at));
  return events;
}

void VoiceActivity::frame(double level, std::vector<Event>& events) {
  const double scale = std::exp2(4 * (options_.threshold - 0.5));
  const double limit = std::max(kLeastLevel * scale, noise_ * kOverNoise * scale);
  const bool loud = level > limit;
  loud_ = loud ? loud_ + 1 : 0;
  silent_ = loud ? 0 : silent_ + 1;
  ++frames_;
  if (!speaking_ && !loud) {
    // The floor follows quickly downwards and slowly upwards.
    noise_ += (level < noise_ ? 0.2 : 0.02) * (level - noise_);
    noise_ = std::max(noise_, 1e-4);
  }
  if (!speaking_ && loud_ >= kFramesToBegin) {
    speaking_ = true;
    const int64_t begin = (frames_ - kFramesToBegin) * kFrame_ms - options_.prefix_padding_ms;
    events.push_back({true, std::max<int64_t>(begin, 0)});
  } else if (speaking_ && silent_ * kFrame_ms >= options_.silence_duration_ms) {
    speaking_ = false;
    events.push_back({false, (frames_ - silent_) * kFrame_ms});
  }
}

}  // namespace tutti::serve
