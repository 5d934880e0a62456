#include "common.h"

#include <cstdlib>

namespace tutti::op_check {

namespace {
uint64_t seed() {
  const char* text = std::getenv("TUTTI_TEST_SEED");
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}
}  // namespace

Random::Random() : engine_(seed()) {
  ::testing::Test::RecordProperty("seed", std::to_string(seed()));
}

Tensor Random::tensor(Shape shape, float scale, DType dtype) {
  Tensor t = Tensor::empty(shape, dtype);
  std::normal_distribution<float> values(0, scale);
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    const float value = values(engine_);
    if (dtype == DType::kBF16) {
      t.data<bf16>()[i] = to_bf16(value);
    } else {
      t.data<float>()[i] = value;
    }
  }
  return t;
}

Tensor Random::uniform_tensor(Shape shape, float low, float high) {
  Tensor t = Tensor::empty(shape);
  for (int64_t i = 0; i < t.num_elements(); ++i) t.data<float>()[i] = uniform(low, high);
  return t;
}

Tensor Random::integers(Shape shape, int64_t low, int64_t high) {
  Tensor t = Tensor::empty(shape, DType::kI32);
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    t.data<int32_t>()[i] = static_cast<int32_t>(integer(low, high));
  }
  return t;
}

Context& one_thread() {
  static Context context(1);
  return context;
}
Context& three_threads() {
  static Context context(3);
  return context;
}

double at(const Tensor& t, int64_t i) {
  if (t.dtype() == DType::kBF16) return to_float(t.data<bf16>()[i]);
  return t.data<float>()[i];
}

Tensor with_stride(const Tensor& t, int64_t extra) {
  Tensor wide = Tensor::zeros({t.rows(), t.cols() + extra}, t.dtype());
  Tensor view = wide.columns(extra / 2, extra / 2 + t.cols());
  for (int64_t r = 0; r < t.rows(); ++r) {
    std::memcpy(view.data<float>() + r * view.row_stride(), t.data<float>() + r * t.row_stride(),
                static_cast<size_t>(t.cols()) * sizeof(float));
  }
  return view;
}

void expect_close(const Tensor& actual, const std::vector<double>& expected, double tolerance,
                  const std::string& what) {
  const Tensor flat = actual.clone();
  ASSERT_EQ(flat.num_elements(), static_cast<int64_t>(expected.size())) << what;
  for (int64_t i = 0; i < flat.num_elements(); ++i) {
    ASSERT_NEAR(flat.data<float>()[i], expected[i], tolerance) << what << ", element " << i;
  }
}

void expect_same_bits(const Tensor& actual, const Tensor& expected, const std::string& what) {
  const Tensor a = actual.clone(), b = expected.clone();
  ASSERT_EQ(a.num_elements(), b.num_elements()) << what;
  if (std::memcmp(a.raw_data(), b.raw_data(), a.bytes()) == 0) return;
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    ASSERT_EQ(a.data<float>()[i], b.data<float>()[i]) << what << ", element " << i;
  }
}

}  // namespace tutti::op_check
