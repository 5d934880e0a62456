#include "media/frontend_check.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

namespace tutti {
namespace {

const std::string kGoldens = TUTTI_TEST_DATA "/goldens";

// Just enough of a safetensors reader for these files: sizes are as the reference wrote them.
std::map<std::string, Tensor> load_tensors(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  uint64_t header_bytes = 0;
  if (bytes.size() < 8) return {};
  std::memcpy(&header_bytes, bytes.data(), 8);
  std::map<std::string, Tensor> out;
  const auto header = boost::json::parse(bytes.substr(8, header_bytes));
  for (const auto& entry : header.as_object()) {
    if (entry.key() == "__metadata__") continue;
    const auto& info = entry.value().as_object();
    const auto dims = boost::json::value_to<std::vector<int64_t>>(info.at("shape"));
    const auto offsets = boost::json::value_to<std::vector<uint64_t>>(info.at("data_offsets"));
    const auto dtype = parse_dtype(std::string(info.at("dtype").as_string()));
    Tensor tensor = Tensor::empty(Shape(dims), dtype.value());
    std::memcpy(tensor.raw_data(), bytes.data() + 8 + header_bytes + offsets[0], tensor.bytes());
    out[entry.key()] = tensor;
  }
  return out;
}

class FrontendCheck : public testing::Test {
 protected:
  FrontendCheck() {
    for (const std::string file : {"audio.safetensors", "image.safetensors"}) {
      tensors_[file] = load_tensors(kGoldens + "/frontend/" + file);
    }
  }

  Result<MediaCheckReport> run() {
    return check_frontend_media(
        kGoldens + "/frontend",
        [this](const std::string& file, const std::string& name) -> Result<Tensor> {
          const auto& of_file = tensors_[file];
          const auto found = of_file.find(name);
          if (found == of_file.end()) return not_found(file + " has no '" + name + "'");
          return found->second;
        });
  }

  std::map<std::string, std::map<std::string, Tensor>> tensors_;
};

TEST_F(FrontendCheck, EveryStoredTensorIsReproduced) {
  const Result<MediaCheckReport> report = run();
  ASSERT_TRUE(report.ok()) << report.error().message();
  for (const MediaCheck& check : report->checks) {
    EXPECT_TRUE(check.passed) << check.name << ": " << check.measure << " " << check.value
                              << ", allowed " << check.allowed << " " << check.note;
  }
  const size_t stored = tensors_["audio.safetensors"].size() + tensors_["image.safetensors"].size();
  EXPECT_EQ(report->checks.size(), stored + 1);  // and the table of smart_resize
  EXPECT_EQ(report->not_compared, std::vector<std::string>());
}

// One wrong value in each kind of tensor is found, and a missing one is a failure, not silence.
TEST_F(FrontendCheck, FindsWrongAndMissingTensors) {
  tensors_["audio.safetensors"]["mel_filters"].data<float>()[128 * 20 + 30] += 0.01f;
  tensors_["image.safetensors"]["rgb.photo_97x61"].data<uint8_t>()[5] ^= 1;
  tensors_["image.safetensors"]["grid_thw.qwen3_omni_moe.photo_97x61"].data<int64_t>()[2] += 2;
  tensors_["image.safetensors"].erase("resized.qwen2_5_omni.icon_64x200");
  const Result<MediaCheckReport> report = run();
  ASSERT_TRUE(report.ok()) << report.error().message();
  std::set<std::string> failed;
  for (const MediaCheck& check : report->checks) {
    if (!check.passed) failed.insert(check.name);
  }
  EXPECT_EQ(failed, (std::set<std::string>{"mel_filters", "rgb.photo_97x61",
                                           "grid_thw.qwen3_omni_moe.photo_97x61",
                                           "resized.qwen2_5_omni.icon_64x200"}));
}

TEST(FrontendCheckInput, SaysWhichFileIsMissing) {
  const auto report = check_frontend_media(
      "/nonexistent-directory",
      [](const std::string&, const std::string&) -> Result<Tensor> { return Tensor(); });
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message().find("/nonexistent-directory/audio.json"), std::string::npos);
}

}  // namespace
}  // namespace tutti
