#include "media/time_stretch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace tutti {
namespace {

constexpr int32_t kRate = 24000;

std::vector<float> tone(double hertz, double seconds) {
  std::vector<float> out(static_cast<size_t>(seconds * kRate));
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(
        0.5 * std::sin(2 * std::numbers::pi * hertz * static_cast<double>(i) / kRate));
  }
  return out;
}

double crossings_per_second(const std::vector<float>& x) {
  int64_t crossings = 0;
  for (size_t i = 1; i < x.size(); ++i) crossings += (x[i - 1] < 0) != (x[i] < 0);
  return static_cast<double>(crossings) * kRate / static_cast<double>(x.size());
}

std::vector<float> stretched(const std::vector<float>& input, double speed, size_t chunk) {
  TimeStretch stretch(kRate, speed);
  std::vector<float> out;
  for (size_t at = 0; at < input.size(); at += chunk) {
    const size_t count = std::min(chunk, input.size() - at);
    const auto more = stretch.append(std::span(input).subspan(at, count));
    out.insert(out.end(), more.begin(), more.end());
  }
  const auto rest = stretch.finish();
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

TEST(TimeStretchTest, LengthIsTheInputsOverSpeedAndPitchStays) {
  const std::vector<float> input = tone(220, 2);
  for (const double speed : {0.25, 0.5, 0.8, 1.25, 2.0, 4.0}) {
    const std::vector<float> out = stretched(input, speed, 1920);
    EXPECT_NEAR(static_cast<double>(out.size()), static_cast<double>(input.size()) / speed, 1)
        << speed;
    EXPECT_NEAR(crossings_per_second(out), 440, 10) << speed;
  }
}

TEST(TimeStretchTest, OutputDoesNotDependOnHowTheInputIsCut) {
  const std::vector<float> input = tone(150, 1);
  EXPECT_EQ(stretched(input, 1.5, 1), stretched(input, 1.5, input.size()));
}

TEST(TimeStretchTest, SpeedOnePassesSamplesOn) {
  const std::vector<float> input = tone(300, 0.3);
  EXPECT_EQ(stretched(input, 1, 700), input);
}

TEST(TimeStretchTest, EmptyAndTinyInputs) {
  EXPECT_TRUE(stretched({}, 2, 1).empty());
  EXPECT_EQ(stretched({0.1f, 0.2f}, 0.5, 2).size(), 4u);
}

}  // namespace
}  // namespace tutti
