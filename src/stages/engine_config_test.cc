// Who wins when several sources set one value, and that what is printed can be read back.
#include "stages/engine_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>

namespace tutti {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using ::testing::HasSubstr;

const std::string kData = std::string(TUTTI_TEST_DATA) + "/deploy/";

class ConfigOfTheTinyModel : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    LoadOptions load;
    load.model_dir = std::string(TUTTI_TEST_DATA) + "/goldens/qwen3_omni_moe/checkpoint";
    auto opened = open_pipeline(load);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    pipeline_ = std::move(*opened);
  }
  static void TearDownTestSuite() { pipeline_.reset(); }

  static EngineConfig resolve(const EngineOptions& options) {
    auto config = resolve_engine_config(options, *pipeline_);
    EXPECT_TRUE(config.ok()) << config.error().message();
    return config.ok() ? *config : EngineConfig();
  }
  static std::string error(const EngineOptions& options) {
    const auto config = resolve_engine_config(options, *pipeline_);
    return config.ok() ? "no error" : config.error().message();
  }
  static std::unique_ptr<Pipeline> pipeline_;
};

std::unique_ptr<Pipeline> ConfigOfTheTinyModel::pipeline_;

std::string origin(const EngineConfig& config, size_t stage, const std::string& key) {
  return config.stages[stage].at(key).origin;
}

TEST_F(ConfigOfTheTinyModel, DefaultsAreTheOptionsAndTheCheckpoints) {
  const EngineConfig config = resolve({});
  ASSERT_EQ(config.options.stages.size(), 3u);
  EXPECT_EQ(*config.options.stages[2].max_num_seqs, EngineOptions().max_num_seqs);
  EXPECT_EQ(origin(config, 0, "max_num_seqs"), "default");
  EXPECT_EQ(config.pipeline.at("max_retries").origin, "default");
  const StageSpec& talker = pipeline_->stages()[1];
  ASSERT_FALSE(talker.sampling_from_checkpoint.empty());
  for (const std::string& field : talker.sampling_from_checkpoint) {
    EXPECT_EQ(origin(config, 1, "default_sampling_params." + field), "generation_config.json");
  }
  EXPECT_EQ(origin(config, 1, "default_sampling_params.min_p"), "default");
}

TEST_F(ConfigOfTheTinyModel, EachSourceWinsOverThoseBelow) {
  EngineOptions options;
  options.deploy_config = kData + "overlay.yaml";
  EngineConfig config = resolve(options);
  EXPECT_EQ(*config.options.stages[0].max_num_seqs, 32);  // its own entry
  EXPECT_EQ(*config.options.stages[2].max_num_seqs, 8);   // the top level's
  EXPECT_THAT(origin(config, 2, "max_num_seqs"), EndsWith("base.yaml:3"));
  EXPECT_EQ(*config.options.stages[1].block_size, 32);
  EXPECT_EQ(config.options.stages[1].num_replicas, 2);
  EXPECT_EQ(config.options.max_live_requests, 5);
  EXPECT_FLOAT_EQ(config.options.default_sampling_params_list[0].temperature, 0.5f);
  EXPECT_EQ(config.options.default_sampling_params_list[0].stop,
            (std::vector<std::string>{"END", "1.5"}));

  options.max_num_seqs = 12;
  config = resolve(options);
  EXPECT_EQ(*config.options.stages[0].max_num_seqs, 12);
  EXPECT_EQ(origin(config, 0, "max_num_seqs"), "option");

  options.stages.resize(2);
  options.stages[1].max_num_seqs = 3;
  options.stage_overrides = {"0.max_num_seqs=6", "0.default_sampling_params.temperature=0.125"};
  config = resolve(options);
  EXPECT_EQ(*config.options.stages[0].max_num_seqs, 6);
  EXPECT_EQ(*config.options.stages[1].max_num_seqs, 3);
  EXPECT_EQ(*config.options.stages[2].max_num_seqs, 12);
  EXPECT_EQ(origin(config, 0, "max_num_seqs"), "--stage-overrides");
  EXPECT_FLOAT_EQ(config.options.default_sampling_params_list[0].temperature, 0.125f);
}

TEST_F(ConfigOfTheTinyModel, AFlagWinsAlsoWithTheDefaultsValue) {
  EngineOptions options;
  options.deploy_config = kData + "overlay.yaml";
  ASSERT_TRUE(set_engine_option(options, "max_num_seqs", "16", "--max-num-seqs").ok());
  const EngineConfig config = resolve(options);
  EXPECT_EQ(*config.options.stages[0].max_num_seqs, 16);
  EXPECT_EQ(origin(config, 0, "max_num_seqs"), "--max-num-seqs");
}

// API.md, Construction: an unknown option is an error that names it and the nearest known one.
TEST_F(ConfigOfTheTinyModel, UnknownOptionsNameTheNearestKnownOne) {
  EngineOptions options;
  EXPECT_THAT(set_engine_option(options, "max_num_seq", "1", "x").message(),
              HasSubstr("`max_num_seq` is not a known key; did you mean `max_num_seqs`?"));
  EXPECT_THAT(set_engine_option(options, "max_num_seqs", "0", "x").message(),
              HasSubstr("`max_num_seqs` is 0; allowed is an integer from 1 to 1048576."));
  EXPECT_TRUE(options.option_origins.empty());
}

TEST_F(ConfigOfTheTinyModel, TheContextOfTheWholeIsThatOfPrompts) {
  EngineOptions options;
  options.max_model_len = 100;
  options.stage_overrides = {"2.max_model_len=50"};
  const EngineConfig config = resolve(options);
  EXPECT_EQ(config.options.stages[0].max_model_len, 100);
  EXPECT_EQ(config.options.stages[1].max_model_len, std::nullopt);
  EXPECT_EQ(config.options.stages[2].max_model_len, 50);
}

TEST_F(ConfigOfTheTinyModel, OptionsOutOfRangeAreRefused) {
  EngineOptions options;
  options.max_num_seqs = 0;
  EXPECT_EQ(error(options), "`max_num_seqs` is 0; allowed is an integer from 1 to 1048576.");
  options = {};
  options.max_pending_updates = 0;
  EXPECT_EQ(error(options), "`max_pending_updates` is 0; allowed is an integer from 1 to 1048576.");
  options = {};
  options.request_timeout_s = -1;
  EXPECT_THAT(error(options), HasSubstr("`request_timeout_s` is -1; allowed is a number from 0"));
  options = {};
  options.dtype = "int3";
  EXPECT_EQ(error(options), "`dtype` is int3; allowed is one of auto, float32, bfloat16.");
  options = {};
  options.stages.resize(4);
  EXPECT_EQ(error(options), "`stages` has 4 entries; this model has 3 stages.");
  options = {};
  options.stage_overrides = {"talker.devices=0"};
  EXPECT_EQ(error(options),
            "--stage-overrides: `devices` of stage 1 (talker) is cuda:0; this program runs on: "
            "cpu.");
  options.stage_overrides = {"1.async_chunk=false"};
  EXPECT_THAT(error(options), HasSubstr("all stages stream or none does"));
  options.stage_overrides = {"1.input_connectors={from_stage_0: shm}"};
  EXPECT_THAT(error(options),
              HasSubstr("is 'shm', which `connectors` does not have; it has: none"));
}

TEST_F(ConfigOfTheTinyModel, WhatIsPrintedReadsBackTheSame) {
  EngineOptions options;
  options.deploy_config = kData + "overlay.yaml";
  options.stage_overrides = {"0.gpu_memory_utilization=0.5", "1.router=sticky",
                             R"({"1": {"default_sampling_params": {"logit_bias": {"3": -1.5}}}})"};
  options.max_audio_s = 12.5;
  const std::string printed = engine_config_yaml(resolve(options));
  EXPECT_THAT(printed, HasSubstr("# --stage-overrides"));
  EXPECT_THAT(printed, HasSubstr("base.yaml:12; code of checkpoints is never run"));

  const fs::path path =
      fs::temp_directory_path() / ("tutti_config_" + std::to_string(getpid()) + ".yaml");
  std::ofstream(path) << printed;
  EngineOptions again;
  again.deploy_config = path.string();
  const std::string reprinted = engine_config_yaml(resolve(again));
  fs::remove(path);
  const auto values = [](const std::string& text) {
    return std::regex_replace(text, std::regex(" *#[^\n]*"), "");
  };
  EXPECT_EQ(values(reprinted), values(printed));
}

}  // namespace
}  // namespace tutti
