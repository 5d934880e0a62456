// The tiny golden checkpoint, opened for tests.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "models/ar_runner_test_util.h"
#include "models/pipeline.h"
#include "models/qwen3_omni_moe/config.h"

namespace tutti::qwen3_omni_moe {

inline std::filesystem::path golden_checkpoint() {
  return std::filesystem::path(TUTTI_TEST_DATA) / "goldens/qwen3_omni_moe/checkpoint";
}

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.model_dir = golden_checkpoint();
    auto pipeline = open_pipeline(options_);
    ASSERT_TRUE(pipeline.ok()) << pipeline.error().message();
    pipeline_ = std::move(*pipeline);
    auto config = read_config(options_.model_dir);
    ASSERT_TRUE(config.ok()) << config.error().message();
    config_ = *config;
  }
  std::unique_ptr<ArModel> load(int32_t stage) {
    auto model = pipeline_->load_ar(stage, options_);
    EXPECT_TRUE(model.ok()) << model.error().message();
    return std::move(*model);
  }

  LoadOptions options_;
  std::unique_ptr<Pipeline> pipeline_;
  Config config_;
  std::unique_ptr<DeviceExecutor> executor_ = DeviceExecutor::create_cpu(2);
};

}  // namespace tutti::qwen3_omni_moe
