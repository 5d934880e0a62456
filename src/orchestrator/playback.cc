#include "orchestrator/playback.h"

#include <algorithm>
#include <cmath>

namespace tutti {

void Playback::add(double now_s, std::span<const float> samples, int32_t sample_rate) {
  if (samples.empty() || sample_rate <= 0) return;
  const double seconds = static_cast<double>(samples.size()) / sample_rate;
  if (!playing_) end_s_ = now_s;
  playing_ = true;
  if (now_s > end_s_) {
    underrun_s_ += now_s - end_s_;
    end_s_ = now_s;
  }
  end_s_ += seconds;
  audio_s_ += seconds;
  if (onset_.add(samples, sample_rate)) first_audio_s_ = now_s;
}

void Playback::begin_answer() {
  playing_ = false;
  if (!onset_.found()) onset_ = {};
}

void Playback::trim_to(double limit_s, AudioChunk& last) {
  const double surplus = std::round((audio_s_ - limit_s) * last.sample_rate);
  const size_t cut = std::min(static_cast<size_t>(std::max(surplus, 0.0)), last.samples.size());
  last.samples.resize(last.samples.size() - cut);
  const double cut_s = static_cast<double>(cut) / std::max(last.sample_rate, 1);
  audio_s_ -= cut_s;
  end_s_ -= cut_s;
}

void Playback::report(StageMetrics& metrics) const {
  metrics.first_audio_s = first_audio_s_;
  metrics.audio_s = audio_s_;
  metrics.underrun_s = underrun_s_;
}

}  // namespace tutti
