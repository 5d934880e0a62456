#include "weights/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "weights/test_util.h"

namespace tutti {
namespace {

using ::testing::HasSubstr;
using testing::safetensors_bytes;
using testing::TempFolder;

class SafetensorsTest : public ::testing::Test {
 protected:
  // The message of opening a file with these bytes; empty when it opened.
  std::string error_of(const std::string& bytes) {
    const auto file = SafetensorsFile::open(folder_.write("model.safetensors", bytes));
    return file.ok() ? "" : file.error().message();
  }
  std::string error_of(const std::string& header, size_t data_bytes) {
    return error_of(safetensors_bytes(header, std::string(data_bytes, 'x')));
  }

  TempFolder folder_;
};

TEST_F(SafetensorsTest, ReadsTensors) {
  const std::string bytes = safetensors_bytes(
      testing::NamedTensors{{"a", Tensor::from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3})},
                            {"b", Tensor::from_vector<int64_t>({7}, {1})}});
  const auto file = SafetensorsFile::open(folder_.write("model.safetensors", bytes));
  ASSERT_TRUE(file.ok()) << file.error().message();
  ASSERT_EQ((*file)->entries().size(), 2u);
  const SafetensorsEntry& entry = (*file)->entries().find("a")->second;
  const Tensor a = (*file)->tensor(entry);
  EXPECT_EQ(a.shape(), (Shape{2, 3}));
  EXPECT_EQ(a.data<float>()[5], 6.0f);
  EXPECT_TRUE((*file)->is_aligned(entry));
}

TEST_F(SafetensorsTest, TensorsOutliveTheFile) {
  const std::string bytes =
      safetensors_bytes(testing::NamedTensors{{"a", Tensor::from_vector<float>({4}, {1})}});
  Tensor a;
  {
    const auto file = SafetensorsFile::open(folder_.write("model.safetensors", bytes));
    ASSERT_TRUE(file.ok());
    a = (*file)->tensor((*file)->entries().begin()->second);
  }
  EXPECT_EQ(a.data<float>()[0], 4.0f);
}

TEST_F(SafetensorsTest, EveryTruncationIsAnError) {
  const std::string whole =
      safetensors_bytes(testing::NamedTensors{{"a", Tensor::from_vector<float>({1, 2, 3}, {3})},
                                              {"b", Tensor::from_vector<float>({4, 5}, {2})}});
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_NE(error_of(whole.substr(0, n)), "") << "cut to " << n << " bytes";
  }
  EXPECT_EQ(error_of(whole), "");
}

TEST_F(SafetensorsTest, TruncatedDataNamesFileTensorExpectedAndFound) {
  const std::string whole =
      safetensors_bytes(testing::NamedTensors{{"a", Tensor::from_vector<float>({1, 2, 3}, {3})}});
  const std::string message = error_of(whole.substr(0, whole.size() - 4));
  EXPECT_THAT(message, HasSubstr("model.safetensors' is truncated"));
  EXPECT_THAT(message, HasSubstr("tensor 'a' ends at byte 12"));
  EXPECT_THAT(message, HasSubstr("found 8 bytes"));
}

TEST_F(SafetensorsTest, RefusesCorruptHeaders) {
  EXPECT_THAT(error_of(std::string(8, '\xff')), HasSubstr("header length"));
  EXPECT_THAT(error_of("not json", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of("[1]", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32"}})", 0), HasSubstr("'a'"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]}})", 1),
              HasSubstr("has dtype F8_E5M2; supported are"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4),
              HasSubstr("its shape is [-1]"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4),
              HasSubstr("data_offsets"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
              HasSubstr("needs 8 bytes, found 4"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1),
              HasSubstr("7 dimensions"));
  // 2^62 floats: the byte size does not fit.
  EXPECT_THAT(
      error_of(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}})", 4),
      HasSubstr("data_offsets"));
}

TEST_F(SafetensorsTest, RefusesOverlapsAndHoles) {
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                       R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                       6),
              HasSubstr("overlap"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                       R"("b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}})",
                       9),
              HasSubstr("bytes of no tensor"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 5),
              HasSubstr("its tensors end at byte"));
}

TEST_F(SafetensorsTest, RefusesWhatIsNoFile) {
  EXPECT_THAT(SafetensorsFile::open(folder_.path() / "none").error().message(),
              HasSubstr("Cannot open"));
  EXPECT_THAT(SafetensorsFile::open(folder_.path()).error().message(),
              HasSubstr("not a regular file"));
  EXPECT_THAT(error_of(""), HasSubstr("is empty"));
}

}  // namespace
}  // namespace tutti
