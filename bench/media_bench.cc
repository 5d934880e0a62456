// tutti-bench-media: what it costs to take sounds and pictures in, on one core.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "media/audio_file.h"
#include "media/image_features.h"
#include "media/image_file.h"
#include "media/image_resize.h"
#include "media/mel.h"
#include "media/resampler.h"
#include "photo.h"

namespace tutti {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRuns = 7;
constexpr int kSeconds = 30;  // of sound

// The median of several runs, in seconds; the first is not counted.
template <typename F>
double time_of(F&& work) {
  work();
  std::vector<double> times;
  for (int i = 0; i < kRuns; ++i) {
    const Clock::time_point begin = Clock::now();
    work();
    times.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

[[noreturn]] void fail(const Status& status) {
  fmt::print(stderr, "tutti-bench-media: {}\n", status.message());
  std::exit(1);
}

template <typename T>
T value_of(Result<T> result) {
  if (!result.ok()) fail(result.error());
  return std::move(result).value();
}

// Tones that rise and fall, with some noise.
std::vector<float> sound(int rate) {
  std::vector<float> out(static_cast<size_t>(rate) * kSeconds);
  uint32_t noise = 1;
  for (size_t i = 0; i < out.size(); ++i) {
    const double t = static_cast<double>(i) / rate;
    noise = noise * 1664525u + 1013904223u;
    out[i] = static_cast<float>(0.3 * std::sin(6.0 * std::sin(3.0 * t) + 1500.0 * t) +
                                0.02 * (noise / 4294967296.0 - 0.5));
  }
  return out;
}

void print_sound(const char* what, double seconds) {
  fmt::print("{:<58} {:>9.2f} ms {:>9.0f}x real time\n", what, seconds * 1e3, kSeconds / seconds);
}

void bench_sound() {
  const MelExtractor extractor = value_of(MelExtractor::create({}));
  const std::vector<float> at_16k = sound(16000);
  const std::vector<float> at_48k = sound(48000);
  print_sound("log-mel, 128 bins, 30 s at 16 kHz",
              time_of([&] { value_of(extractor.extract(at_16k)); }));
  print_sound("resample 30 s from 48 to 16 kHz",
              time_of([&] { value_of(resample(at_48k, 48000, 16000)); }));
}

void bench_picture() {
  const std::vector<std::byte> file = photo_jpeg(1920, 1080, 1);
  const Tensor rgb = value_of(decode_image(file));
  PatchConfig config;
  config.patch_size = 16;
  const Size size = value_of(smart_resize({1080, 1920}, 32, config.min_pixels, config.max_pixels));
  const auto row = [](const std::string& what, double seconds) {
    fmt::print("{:<58} {:>9.2f} ms\n", what, seconds * 1e3);
  };
  row(fmt::format("JPEG 1920x1080 ({} KB): decode", file.size() / 1000),
      time_of([&] { value_of(decode_image(file)); }));
  row(fmt::format("JPEG 1920x1080: resize to {}x{}", size.width, size.height),
      time_of([&] { resize_bicubic(rgb, size); }));
  row("JPEG 1920x1080: resize and patches", time_of([&] { value_of(image_patches(rgb, config)); }));
  row("JPEG 1920x1080: decode, resize and patches",
      time_of([&] { value_of(image_patches(value_of(decode_image(file)), config)); }));
}

}  // namespace
}  // namespace tutti

int main() {
  tutti::bench_sound();
  tutti::bench_picture();
  return 0;
}
