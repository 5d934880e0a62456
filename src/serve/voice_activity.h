// VoiceActivity: who is speaking, from the energy of short frames, with hangover: speech begins
// after some loud frames and ends after a silence. The threshold floats above the noise floor.
//
// Thread: one. Times are positions in the stream, so that it runs faster or slower than real time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace tutti::serve {

struct VoiceActivityOptions {
  double threshold = 0.5;           // 0: whispers count, 1: only loud speech
  int32_t prefix_padding_ms = 300;  // of sound before the beginning that belongs to it
  int32_t silence_duration_ms = 500;
  bool operator==(const VoiceActivityOptions&) const = default;
};

class VoiceActivity {
 public:
  VoiceActivity(int32_t sample_rate, VoiceActivityOptions options);

  struct Event {
    bool started = false;  // else stopped
    int64_t at_ms = 0;     // with the padding taken off / the silence left out
  };
  // Samples in -1..1; returns what happened, in order.
  std::vector<Event> append(std::span<const float> samples);
  bool speaking() const { return speaking_; }

 private:
  void frame(double level, std::vector<Event>& events);

  static constexpr int32_t kFrame_ms = 20;
  const VoiceActivityOptions options_;
  const size_t frame_samples_;
  std::vector<float> pending_;
  int64_t frames_ = 0;
  double noise_ = 0.003;  // root mean square
  bool speaking_ = false;
  int32_t loud_ = 0;    // frames in a row
  int32_t silent_ = 0;  // frames in a row
};

}  // namespace tutti::serve
