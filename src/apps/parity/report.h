// Report: compares tensors with stored ones and prints one line each; counts misses.
//
// Thread: one.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "weights/safetensors.h"

namespace tutti::parity {

// Largest absolute difference that the goldens' README allows for float32, by what is compared.
inline constexpr double kHiddenTolerance = 5e-4;  // hidden states, logits, embeddings
inline constexpr double kMelTolerance = 1e-3;
inline constexpr double kPixelTolerance = 1.6e-2;  // a level of a resized picture may differ
inline constexpr double kWaveTolerance = 1e-4;     // code2wav
// For bfloat16 weights: relative L2 distance; in cases with media, of the median row. Rows of
// media lie close together, so that after rounding a router often chooses another expert, which
// moves that row by a tenth or more; most rows show the rounding alone.
inline constexpr double kBf16LogitsTolerance = 2e-2;
inline constexpr double kBf16Tolerance = 5e-2;

enum class Precision { kF32, kBF16 };

class Report {
 public:
  explicit Report(Precision precision) : precision_(precision) {}

  // The stored tensors of the case that follows; prints its name.
  void begin_case(const std::string& name, std::shared_ptr<const SafetensorsFile> golden);
  // Lists the stored tensors that nothing was compared with.
  void end_case(const std::string& reason);

  bool has(const std::string& name) const;
  Shape shape(const std::string& name) const;
  std::vector<float> floats(const std::string& name) const;
  std::vector<int64_t> integers(const std::string& name) const;

  // Floats: fp32 by largest absolute difference, bf16 by relative L2 distance (see above).
  void compare(const std::string& name, std::span<const float> actual, double tolerance);
  // The same against given values, for parts of tensors.
  void compare_values(const std::string& name, std::span<const float> expected,
                      std::span<const float> actual, double tolerance);
  // Integers and texts: equal.
  void compare_ids(const std::string& name, std::span<const int64_t> actual);
  void compare_text(const std::string& name, const std::string& expected,
                    const std::string& actual);
  // "name.top8_values" and "name.top8_indices" against full rows of logits [rows, width].
  void compare_top8(const std::string& name, std::span<const float> logits, int64_t width);
  // A stored tensor that is an input of the case.
  void mark_input(const std::string& name) { seen_.insert(name); }
  void fail(const std::string& name, const std::string& what);

  Precision precision() const { return precision_; }
  int passed() const { return passed_; }
  int failed() const { return failed_; }
  int not_compared() const { return not_compared_; }

 private:
  bool has_media() const;
  void line(bool ok, const std::string& name, const std::string& what);

  Precision precision_;
  std::shared_ptr<const SafetensorsFile> golden_;
  std::set<std::string> seen_;
  int passed_ = 0;
  int failed_ = 0;
  int not_compared_ = 0;
};

}  // namespace tutti::parity
