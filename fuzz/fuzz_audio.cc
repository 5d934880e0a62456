// Any bytes as a sound file: an error, or finite samples within the limits.
#include <cmath>
#include <cstdlib>
#include <span>

#include "media/audio_file.h"
#include "media/video_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int kRate = 16000;
  constexpr double kSeconds = 5;
  // Those are decoded by another process; fuzz_video.cc sees into what it does.
  if (tutti::is_container(std::as_bytes(std::span(data, size)))) return 0;
  const auto got = tutti::decode_audio(std::as_bytes(std::span(data, size)), kRate,
                                       {.max_bytes = 1'000'000, .max_seconds = kSeconds});
  if (!got.ok()) return 0;
  if (got->empty() || static_cast<double>(got->size()) > kSeconds * kRate + 1) std::abort();
  for (const float sample : *got) {
    if (!std::isfinite(sample)) std::abort();
  }
  return 0;
}
