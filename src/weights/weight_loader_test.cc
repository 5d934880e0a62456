#include "weights/weight_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "weights/convert.h"
#include "weights/test_util.h"

namespace tutti {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::NamedTensors;
using testing::safetensors_bytes;
using testing::TempFolder;

Tensor bf16_tensor(const std::vector<float>& values, Shape shape) {
  std::vector<bf16> bits;
  for (float v : values) bits.push_back(to_bf16(v));
  return Tensor::from_vector(bits, shape);
}

class WeightLoaderTest : public ::testing::Test {
 protected:
  std::unique_ptr<WeightLoader> open(const NamedTensors& tensors, WeightLoaderOptions options) {
    folder_.write("model.safetensors", safetensors_bytes(tensors));
    auto checkpoint = Checkpoint::open(folder_.path());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().message();
    checkpoint_ = *checkpoint;
    return make_checkpoint_loader(*checkpoint, std::move(options));
  }

  TempFolder folder_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  const NamedTensors tensors_ = {
      {"net.a.weight", Tensor::from_vector<float>({1, 2, 3, 4}, {2, 2})},
      {"net.norm.weight", Tensor::from_vector<float>({0.1f, 0.2f}, {2})},
      {"net.b.weight", bf16_tensor({1.5f, -2}, {1, 2})},
  };
};

TEST_F(WeightLoaderTest, KeepsMatchingDtypesMapped) {
  auto loader = open(tensors_, {.prefixes = {"net."}});
  const Tensor a = loader->get("net.a.weight", {2, 2});
  const Tensor b = loader->get("net.b.weight", {1, 2});
  const Tensor norm = loader->get("net.norm.weight", {2});
  ASSERT_TRUE(loader->finish().ok());
  EXPECT_EQ(a.dtype(), DType::kF32);
  EXPECT_EQ(b.dtype(), DType::kBF16);
  EXPECT_EQ(a.data<float>()[3], 4.0f);
  const CheckpointTensor* entry = checkpoint_->find("net.a.weight");
  EXPECT_EQ(a.raw_data(), entry->file->bytes(*entry->entry)) << "the matrix was copied";
  EXPECT_EQ(loader->stats().converted_bytes, 0u);
  EXPECT_EQ(loader->stats().bytes, 16u + 4u + 8u);
  EXPECT_EQ(loader->stats().tensors, 3u);
}

TEST_F(WeightLoaderTest, GivesUpWhenTold) {
  std::stop_source cancel;
  auto loader = open(tensors_, {.dtype = DType::kBF16,
                                .prefixes = {"net."},
                                .num_threads = 1,
                                .cancel = cancel.get_token()});
  loader->get("net.a.weight", {2, 2});
  loader->get("net.b.weight", {1, 2});
  loader->get("net.norm.weight", {2});
  cancel.request_stop();
  EXPECT_EQ(loader->finish().code(), StatusCode::kAborted);
}

TEST_F(WeightLoaderTest, ConvertsMatricesAndKeepsVectors) {
  std::vector<double> fractions;
  auto loader =
      open(tensors_, {.dtype = DType::kBF16, .prefixes = {"net."}, .on_progress = [&](double f) {
                        fractions.push_back(f);
                      }});
  const Tensor a = loader->get("net.a.weight", {2, 2});
  loader->get("net.b.weight", {1, 2});
  const Tensor norm = loader->get("net.norm.weight", {2});
  ASSERT_TRUE(loader->finish().ok());
  EXPECT_EQ(a.dtype(), DType::kBF16);
  EXPECT_EQ(to_float(a.data<bf16>()[2]), 3.0f);
  EXPECT_EQ(norm.dtype(), DType::kF32);
  EXPECT_EQ(norm.data<float>()[0], 0.1f);
  ASSERT_FALSE(fractions.empty());
  EXPECT_EQ(fractions.back(), 1.0);
}

TEST_F(WeightLoaderTest, WidensToF32) {
  auto loader = open(tensors_, {.dtype = DType::kF32});
  const Tensor b = loader->get("net.b.weight", {1, 2});
  ASSERT_TRUE(loader->finish().ok());
  EXPECT_EQ(b.data<float>()[1], -2.0f);
  EXPECT_EQ(loader->get_f32("net.b.weight", {1, 2}).data<float>()[0], 1.5f);
}

TEST_F(WeightLoaderTest, ReportsMissingTensors) {
  auto loader = open(tensors_, {});
  EXPECT_FALSE(loader->get("net.c.weight", {2, 2}).defined());
  EXPECT_THAT(loader->finish().message(),
              AllOf(HasSubstr("'net.c.weight' of shape [2, 2] is missing"),
                    HasSubstr("model.safetensors")));
}

TEST_F(WeightLoaderTest, ReportsWrongShapes) {
  auto loader = open(tensors_, {});
  loader->get("net.a.weight", {2, 3});
  loader->get("net.none", {1});  // the first error is the one reported
  EXPECT_THAT(loader->finish().message(),
              AllOf(HasSubstr("'net.a.weight' in '"), HasSubstr("model.safetensors"),
                    HasSubstr("has shape [2, 2], expected [2, 3]")));
}

TEST_F(WeightLoaderTest, ReportsWrongDtypes) {
  auto loader = open({{"ids", Tensor::from_vector<int64_t>({1, 2}, {2})}}, {});
  loader->get("ids", {2});
  EXPECT_THAT(loader->finish().message(), HasSubstr("has dtype I64, expected F32, BF16"));
}

TEST_F(WeightLoaderTest, ReportsUnexpectedTensors) {
  auto loader = open(tensors_, {.prefixes = {"net."}});
  loader->get("net.a.weight", {2, 2});
  EXPECT_THAT(loader->finish().message(),
              AllOf(HasSubstr("has 2 tensors that config.json does not account for"),
                    HasSubstr("'net.b.weight', 'net.norm.weight'")));
  auto ignoring = open(tensors_, {.prefixes = {"net."}, .ignored_prefixes = {"net.b.", "net.n"}});
  ignoring->get("net.a.weight", {2, 2});
  EXPECT_TRUE(ignoring->finish().ok());
}

TEST_F(WeightLoaderTest, ReadsShards) {
  folder_.write("one.safetensors", safetensors_bytes(NamedTensors{tensors_[0]}));
  folder_.write("two.safetensors", safetensors_bytes(NamedTensors{tensors_[1]}));
  const auto index = [&](const std::string& second) {
    folder_.write(
        "model.safetensors.index.json",
        R"({"weight_map":{"net.a.weight":"one.safetensors","net.norm.weight":")" + second + "\"}}");
    const auto checkpoint = Checkpoint::open(folder_.path());
    return checkpoint.ok() ? "" : checkpoint.error().message();
  };
  EXPECT_EQ(index("two.safetensors"), "");
  EXPECT_THAT(index("one.safetensors"), HasSubstr("'net.norm.weight' is missing from"));
  EXPECT_THAT(index("three.safetensors"), HasSubstr("Cannot open"));
  EXPECT_THAT(index("../two.safetensors"), HasSubstr("expected the name of a file beside it"));
  folder_.write("model.safetensors.index.json", "{}");
  EXPECT_THAT(Checkpoint::open(folder_.path()).error().message(), HasSubstr("weight_map"));
  folder_.write("model.safetensors.index.json", "{\n\"weight_map\": {\n");
  EXPECT_THAT(Checkpoint::open(folder_.path()).error().message(),
              HasSubstr("index.json' is not valid JSON: "));
}

TEST_F(WeightLoaderTest, NamesWhatAFolderWithoutWeightsNeeds) {
  EXPECT_THAT(Checkpoint::open(folder_.path()).error().message(),
              HasSubstr("expected model.safetensors or model.safetensors.index.json"));
}

TEST(DummyLoaderTest, DrawsTheSameFromTheSameSeed) {
  const auto draw = [](uint64_t seed) {
    auto loader = make_dummy_loader(seed, {.dtype = DType::kF32});
    const Tensor w = loader->get("layer.weight", {64, 300});
    EXPECT_TRUE(loader->finish().ok());
    return std::vector<float>(w.data<float>(), w.data<float>() + w.num_elements());
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
  double mean = 0, square = 0;
  for (float v : draw(3)) {
    mean += v;
    square += v * v;
  }
  const double n = 64 * 300;
  EXPECT_NEAR(mean / n, 0, 0.01);
  EXPECT_NEAR(square / n, 1.0 / 300, 0.1 / 300);
}

TEST(DummyLoaderTest, NormsAreAboutOneAndMatricesBf16) {
  auto loader = make_dummy_loader(0, {});
  const Tensor norm = loader->get("input_layernorm.weight", {8});
  const Tensor matrix = loader->get("q_proj.weight", {8, 8});
  ASSERT_TRUE(loader->finish().ok());
  EXPECT_NEAR(norm.data<float>()[3], 1.0f, 0.05f);
  EXPECT_EQ(matrix.dtype(), DType::kBF16);
}

TEST(DummyLoaderTest, RefusesMoreThanTheMachineHas) {
  auto loader = make_dummy_loader(0, {});
  const int64_t rows = static_cast<int64_t>(available_host_bytes() >> 20);
  for (int i = 0; i < 3; ++i) loader->get("w" + std::to_string(i), {rows, 1 << 20});
  const Status status = loader->finish();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("more memory than is available"));
}

TEST(ConvertTest, ReadsHalfPrecision) {
  EXPECT_EQ(half_to_float(0x3C00), 1.0f);
  EXPECT_EQ(half_to_float(0xC000), -2.0f);
  EXPECT_EQ(half_to_float(0x0001), 0x1p-24f);
  EXPECT_EQ(half_to_float(0x7BFF), 65504.0f);
  EXPECT_TRUE(std::isinf(half_to_float(0x7C00)));
  EXPECT_TRUE(std::isnan(half_to_float(0x7E00)));
}

}  // namespace
}  // namespace tutti
