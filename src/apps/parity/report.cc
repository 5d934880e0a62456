#include "apps/parity/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace tutti::parity {

namespace {

struct Difference {
  double largest = 0;   // absolute
  double relative = 0;  // largest |a - e| / |e| over elements of at least a thousandth of the peak
  double l2 = 0;        // relative
};

Difference difference(std::span<const float> expected, std::span<const float> actual) {
  Difference d;
  double peak = 0, error = 0, norm = 0;
  for (float e : expected) peak = std::max(peak, std::abs(static_cast<double>(e)));
  for (size_t i = 0; i < expected.size(); ++i) {
    const double e = expected[i];
    const double diff = std::abs(e - static_cast<double>(actual[i]));
    // NaN compares false with everything; it must not pass.
    d.largest = std::isnan(diff) ? INFINITY : std::max(d.largest, diff);
    if (std::abs(e) >= 1e-3 * peak && e != 0) d.relative = std::max(d.relative, diff / std::abs(e));
    error += diff * diff;
    norm += e * e;
  }
  d.l2 = norm > 0 ? std::sqrt(error / norm) : std::sqrt(error);
  if (std::isnan(d.l2)) d.l2 = INFINITY;
  return d;
}

// Relative L2 distance of the median row.
double median_row(std::span<const float> expected, std::span<const float> actual, size_t width) {
  std::vector<double> rows;
  for (size_t i = 0; i < expected.size(); i += width) {
    rows.push_back(difference(expected.subspan(i, width), actual.subspan(i, width)).l2);
  }
  if (rows.empty()) return 0;
  const auto middle = rows.begin() + static_cast<int64_t>(rows.size() / 2);
  std::ranges::nth_element(rows, middle);
  return *middle;
}

}  // namespace

void Report::line(bool ok, const std::string& name, const std::string& what) {
  ++(ok ? passed_ : failed_);
  fmt::print("  {}  {:<40} {}\n", ok ? "pass" : "FAIL", name, what);
}

void Report::fail(const std::string& name, const std::string& what) {
  seen_.insert(name);
  line(false, name, what);
}

void Report::begin_case(const std::string& name, std::shared_ptr<const SafetensorsFile> golden) {
  golden_ = std::move(golden);
  seen_.clear();
  fmt::print("{}\n", name);
}

void Report::end_case(const std::string& reason) {
  for (const auto& [name, entry] : golden_->entries()) {
    if (seen_.contains(name)) continue;
    ++not_compared_;
    fmt::print("  ----  {:<40} not compared: {}\n", name, reason);
  }
  golden_ = nullptr;
}

bool Report::has_media() const {
  return has("audio.embeds") || has("image.embeds") || has("video.embeds");
}

bool Report::has(const std::string& name) const { return golden_->entries().contains(name); }

Shape Report::shape(const std::string& name) const {
  const auto it = golden_->entries().find(name);
  return it == golden_->entries().end() ? Shape{0} : it->second.shape;
}

std::vector<float> Report::floats(const std::string& name) const {
  const auto it = golden_->entries().find(name);
  if (it == golden_->entries().end() || it->second.dtype != DType::kF32) return {};
  std::vector<float> out(static_cast<size_t>(it->second.shape.num_elements()));
  std::memcpy(out.data(), golden_->bytes(it->second), out.size() * sizeof(float));
  return out;
}

std::vector<int64_t> Report::integers(const std::string& name) const {
  const auto it = golden_->entries().find(name);
  if (it == golden_->entries().end() || it->second.dtype != DType::kI64) return {};
  std::vector<int64_t> out(static_cast<size_t>(it->second.shape.num_elements()));
  std::memcpy(out.data(), golden_->bytes(it->second), out.size() * sizeof(int64_t));
  return out;
}

void Report::compare(const std::string& name, std::span<const float> actual, double tolerance) {
  if (has(name)) compare_values(name, floats(name), actual, tolerance);
}

void Report::compare_values(const std::string& name, std::span<const float> expected,
                            std::span<const float> actual, double tolerance) {
  seen_.insert(name);
  if (expected.size() != actual.size()) {
    line(false, name, fmt::format("has {} elements, expected {}", actual.size(), expected.size()));
    return;
  }
  const Difference d = difference(expected, actual);
  std::string what =
      fmt::format("max abs {:.2e}  max rel {:.2e}  rel L2 {:.2e}", d.largest, d.relative, d.l2);
  const double l2 =
      name.find("logits") == std::string::npos ? kBf16Tolerance : kBf16LogitsTolerance;
  bool ok = d.largest <= tolerance;
  if (precision_ == Precision::kBF16) {
    const Shape stored = shape(name);
    const auto width = static_cast<size_t>(stored.rank() == 2 ? stored.dim(-1) : 0);
    double judged = d.l2;
    if (has_media() && width > 0 && expected.size() % width == 0) {
      judged = median_row(expected, actual, width);
      what += fmt::format("  median row {:.2e}", judged);
    }
    ok = judged <= l2;
  }
  line(ok, name, what);
}

void Report::compare_ids(const std::string& name, std::span<const int64_t> actual) {
  if (!has(name)) return;
  seen_.insert(name);
  const std::vector<int64_t> expected = integers(name);
  if (expected.size() != actual.size()) {
    line(false, name, fmt::format("has {} ids, expected {}", actual.size(), expected.size()));
    return;
  }
  const auto [e, a] = std::ranges::mismatch(expected, actual);
  if (e == expected.end()) {
    line(true, name, fmt::format("{} ids equal", expected.size()));
  } else {
    line(false, name, fmt::format("id {} is {}, expected {}", e - expected.begin(), *a, *e));
  }
}

void Report::compare_text(const std::string& name, const std::string& expected,
                          const std::string& actual) {
  line(expected == actual, name, expected == actual ? "equal" : "is '" + actual + "'");
}

void Report::compare_top8(const std::string& name, std::span<const float> logits, int64_t width) {
  const std::string values_name = name + ".top8_values";
  const std::string ids_name = name + ".top8_indices";
  if (!has(values_name) || !has(ids_name)) return;
  const std::vector<float> values = floats(values_name);
  const std::vector<int64_t> ids = integers(ids_name);
  const int64_t rows = shape(ids_name)[0], k = shape(ids_name)[1];
  if (static_cast<int64_t>(logits.size()) != rows * width) {
    fail(values_name, fmt::format("{} logits computed, expected {} rows", logits.size(), rows));
    return;
  }
  std::vector<float> at_ids;
  int64_t wrong = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const std::span row = logits.subspan(static_cast<size_t>(r * width), width);
    std::vector<int64_t> order(width);
    for (int64_t i = 0; i < width; ++i) order[i] = i;
    std::ranges::partial_sort(order, order.begin() + k, [&](int64_t a, int64_t b) {
      return row[a] != row[b] ? row[a] > row[b] : a < b;
    });
    for (int64_t j = 0; j < k; ++j) {
      const int64_t id = ids[r * k + j];
      if (id < 0 || id >= width) {
        ++wrong;
        continue;
      }
      at_ids.push_back(row[id]);
      // Another id may hold this rank when the two logits are nearer than both may err.
      if (order[j] != id && row[order[j]] - row[id] > 2 * kHiddenTolerance) ++wrong;
    }
  }
  compare_values(values_name, values, at_ids, kHiddenTolerance);
  if (precision_ == Precision::kBF16) return;
  seen_.insert(ids_name);
  line(wrong == 0, ids_name, fmt::format("{} of {} ids differ", wrong, rows * k));
}

}  // namespace tutti::parity
