// Deploy files: what is read, from where, and every way to be wrong.
#include "stages/deploy_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "stages/deploy_schema.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using ::testing::HasSubstr;

const std::string kData = std::string(TUTTI_TEST_DATA) + "/deploy/";
const DeployTarget kTarget{.stage_names = {"thinker", "talker", "code2wav"}, .platform = "cpu"};

class DeployFile : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / ("tutti_deploy_" + std::to_string(getpid()) + ".yaml");
  }
  void TearDown() override { fs::remove(path_); }

  Result<DeployConfig> read(const std::string& text) {
    std::ofstream(path_) << text;
    return read_deploy_file(path_.string(), kTarget);
  }
  // The message behind the file's name.
  std::string error(const std::string& text) {
    const auto config = read(text);
    if (config.ok()) return "no error";
    const std::string& message = config.error().message();
    EXPECT_TRUE(message.starts_with(path_.string() + ":")) << message;
    return message.substr(std::min(message.size(), path_.string().size() + 1));
  }
  fs::path path_;
};

std::string stage_error(const std::vector<std::string>& overrides) {
  const auto config = read_stage_overrides(overrides, kTarget);
  return config.ok() ? "no error" : config.error().message();
}

TEST(DeployChain, LaterFilesAndThePlatformWin) {
  const auto config = read_deploy_file(kData + "overlay.yaml", kTarget);
  ASSERT_TRUE(config.ok()) << config.error().message();
  const Settings& thinker = config->stages[0];
  const Settings& talker = config->stages[1];
  EXPECT_EQ(config->pipeline.at("max_num_seqs").value, "8");
  EXPECT_EQ(config->pipeline.at("max_live_requests").value, "5");
  EXPECT_EQ(thinker.at("max_num_seqs").value, "32");
  EXPECT_THAT(thinker.at("max_num_seqs").origin, EndsWith("deploy/overlay.yaml:5"));
  EXPECT_EQ(thinker.at("max_num_batched_tokens").value, "1024");
  EXPECT_THAT(thinker.at("max_num_batched_tokens").origin, EndsWith("deploy/base.yaml:11"));
  // Nested mappings are merged key by key.
  EXPECT_EQ(thinker.at("default_sampling_params.temperature").value, "0.5");
  EXPECT_EQ(thinker.at("default_sampling_params.top_k").value, "1");
  // The platform's section of the base is above the overlay's stages.
  EXPECT_EQ(talker.at("max_num_seqs").value, "4");
  EXPECT_EQ(talker.at("devices").value, "cpu");
  EXPECT_EQ(talker.at("block_size").value, "32");
  EXPECT_EQ(talker.at("num_replicas").value, "2");
  EXPECT_EQ(talker.at("worker_process").value, "false");
  EXPECT_EQ(talker.at("input_connectors.from_stage_0").value, "shm");
}

TEST(DeployChain, AnotherPlatformsSectionDoesNotApply) {
  DeployTarget cuda = kTarget;
  cuda.platform = "cuda";
  const auto config = read_deploy_file(kData + "overlay.yaml", cuda);
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->stages[1].at("devices").value, "cuda:1");
  EXPECT_EQ(config->stages[1].at("max_num_seqs").value, "2");
}

TEST(DeployChain, WhatChangesNothingSaysWhy) {
  const auto config = read_deploy_file(kData + "base.yaml", kTarget);
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->stages[0].at("trust_remote_code").note, HasSubstr("never run"));
  EXPECT_THAT(config->pipeline.at("connectors.shm.extra.codec_chunk_frames").note,
              HasSubstr("keep their state"));
  EXPECT_EQ(config->stages[0].at("max_num_seqs").note, "");
}

TEST(DeployChain, ACycleListsItsFiles) {
  const auto config = read_deploy_file(kData + "cycle_a.yaml", kTarget);
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message(), ::testing::MatchesRegex(".*cycle_a.yaml -> .*cycle_b.yaml "
                                                                "-> .*cycle_a.yaml\\."));
}

TEST(DeployChain, AMissingFileIsNamed) {
  const auto config = read_deploy_file("/nowhere/deploy.yaml", kTarget);
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.error().code(), StatusCode::kNotFound);
  EXPECT_THAT(config.error().message(), HasSubstr("/nowhere/deploy.yaml"));
}

TEST_F(DeployFile, AMissingBaseIsNamedWithItsLine) {
  EXPECT_THAT(
      error("async_chunk: true\nbase_config: absent.yaml\n"),
      ::testing::MatchesRegex("2:14: `base_config` is absent.yaml, but there is no file.*"));
}

// API.md, Construction: an unknown YAML key is an error that names it and the nearest known one.
TEST_F(DeployFile, UnknownKeysNameTheNearestKnownOne) {
  EXPECT_EQ(error("stages:\n  - stage_id: 0\n    max_num_seq: 4\n"),
            "3:5: `stages[0].max_num_seq` is not a known key; did you mean `max_num_seqs`?");
  EXPECT_EQ(error("asink_chunk: true\n"),
            "1:1: `asink_chunk` is not a known key; did you mean `async_chunk`?");
  EXPECT_EQ(error("stages:\n  - stage_id: 0\n    default_sampling_params: {temprature: 1}\n"),
            "3:31: `stages[0].default_sampling_params.temprature` is not a known key; did you mean "
            "`temperature`?");
  EXPECT_EQ(error("platforms:\n  cpuu: {}\n"),
            "2:3: `platforms.cpuu` is not a known platform; did you mean `cpu`?");
  EXPECT_EQ(error("platforms:\n  cuda: {stages: [{stage_id: 0, device: 1}]}\n"),
            "2:33: `platforms.cuda.stages[0].device` is not a known key; did you mean `devices`?");
  EXPECT_EQ(error("stages: [{stage_id: 0, engine_args: {block_sizes: 4}}]\n"),
            "1:38: `stages[0].engine_args.block_sizes` is not a known key; did you mean "
            "`block_size`?");
  EXPECT_THAT(error("zzzzzzzzzzzz: 1\n"), HasSubstr("is not a known key; known are: async_chunk"));
}

TEST_F(DeployFile, KeysAtTheWrongPlaceSayTheRightOne) {
  EXPECT_EQ(error("stages: [{stage_id: 0, dtype: auto}]\n"),
            "1:24: `stages[0].dtype` is a key of the top level, not of a stage.");
  EXPECT_EQ(error("num_replicas: 2\n"),
            "1:1: `num_replicas` is a key of a stage, not of the top level.");
}

TEST_F(DeployFile, ValuesOutOfRangeSayWhatIsAllowed) {
  const auto stage = [&](const std::string& pair) {
    return error("stages:\n  - stage_id: 1\n    " + pair + "\n");
  };
  EXPECT_EQ(stage("max_num_seqs: 0"),
            "3:19: `stages[0].max_num_seqs` is 0; allowed is an integer from 1 to 1048576.");
  EXPECT_EQ(stage("max_num_seqs: many"),
            "3:19: `stages[0].max_num_seqs` is many; allowed is an integer from 1 to 1048576.");
  EXPECT_EQ(stage("max_num_seqs: [1]"),
            "3:19: `stages[0].max_num_seqs` is a list; allowed is an integer from 1 to 1048576.");
  EXPECT_EQ(stage("gpu_memory_utilization: 1.5"),
            "3:29: `stages[0].gpu_memory_utilization` is 1.5; allowed is a number above 0 to 1.");
  EXPECT_THAT(stage("gpu_memory_utilization: .nan"), HasSubstr("allowed is a number above 0"));
  EXPECT_THAT(stage("gpu_memory_utilization: 0"), HasSubstr("allowed is a number above 0"));
  EXPECT_EQ(stage("enable_prefix_caching: perhaps"),
            "3:28: `stages[0].enable_prefix_caching` is perhaps; allowed is true or false.");
  EXPECT_THAT(stage("router: nearest"), HasSubstr("one of least_outstanding, round_robin, sticky"));
  EXPECT_THAT(stage("devices: gpu"), HasSubstr("allowed is cpu, or numbers of CUDA devices"));
  EXPECT_THAT(stage("default_sampling_params: {stop_token_ids: [-1]}"), HasSubstr("a list of int"));
  EXPECT_THAT(stage("default_sampling_params: {logit_bias: {5: 101}}"), HasSubstr("-100 to 100"));
}

TEST_F(DeployFile, WhatCannotBeHonouredSaysWhy) {
  const auto stage = [&](const std::string& pair) {
    return error("stages: [{stage_id: 0, " + pair + "}]\n");
  };
  EXPECT_EQ(
      stage("compilation_config: {level: 3}"),
      "1:24: `stages[0].compilation_config` cannot be honoured: it steers a part of vLLM that "
      "has no counterpart here. Remove the key.");
  EXPECT_EQ(
      stage("tensor_parallel_size: 2"),
      "1:46: `stages[0].tensor_parallel_size` is 2; only 1 is possible: a stage runs whole on "
      "one device; use num_replicas.");
  EXPECT_EQ(stage("tensor_parallel_size: 1"), "no error");
  EXPECT_THAT(error("enable_chunked_prefill: false\n"), HasSubstr("only true is possible"));
  EXPECT_THAT(error("stage_args: []\n"), HasSubstr("it is the old schema; use stages"));
  EXPECT_THAT(error("connectors: {far: {name: MooncakeStoreConnector}}\n"),
              HasSubstr("`connectors.far.name` is MooncakeStoreConnector; stages run on one host"));
}

TEST_F(DeployFile, StagesAreNamedOnceAndExist) {
  EXPECT_EQ(error("stages:\n  - max_num_seqs: 1\n"), "2:5: `stages[0]` has no stage_id.");
  EXPECT_EQ(error("stages: [{stage_id: 3}]\n"),
            "1:21: `stages[0].stage_id` is 3; this model has the stages 0 to 2.");
  EXPECT_EQ(error("stages: [{stage_id: 1}, {stage_id: 1}]\n"),
            "1:36: `stages[1].stage_id` is 1, which stands twice.");
  EXPECT_EQ(error("stages: 4\n"), "1:9: `stages` is 4; allowed is a list of stages.");
  EXPECT_EQ(error("stages: [{stage_id: 1, input_connectors: {from_stage_9: shm}}]\n"),
            "1:43: `stages[0].input_connectors.from_stage_9` names no edge; allowed are "
            "from_stage_0 to from_stage_2.");
}

TEST_F(DeployFile, BrokenYamlHasAPlace) {
  EXPECT_THAT(error("stages: [\n  {stage_id: 0\n"),
              ::testing::MatchesRegex("[0-9]+:[0-9]+: this is "
                                      "not YAML: .*"));
  EXPECT_EQ(error("max_num_seqs: 1\nmax_num_seqs: 2\n"), "2:1: `max_num_seqs` stands twice.");
  EXPECT_THAT(error("max_num_seqs: 1\n---\nmax_num_seqs: 2\n"), HasSubstr("a second document"));
  EXPECT_THAT(error("- 1\n"), HasSubstr("the document is a list; allowed is a mapping."));
  EXPECT_THAT(error("just words\n"), HasSubstr("the document is just words"));
}

TEST_F(DeployFile, NothingIsReadFromNothing) {
  for (const char* text : {"", "# only a comment\n", "stages:\n", "max_num_seqs: null\n"}) {
    const auto config = read(text);
    ASSERT_TRUE(config.ok()) << config.error().message();
    EXPECT_TRUE(config->pipeline.empty());
  }
}

TEST(StageOverrides, TakeAssignmentsAndJson) {
  const std::vector<std::string> overrides = {
      R"({"0": {"max_num_seqs": 8, "default_sampling_params": {"top_k": 3}},
          "1": {"devices": "0"}})",
      "talker.max_num_seqs=2", "0.default_sampling_params.temperature=0.25",
      "0.default_sampling_params.stop=[a, b]"};
  const auto config = read_stage_overrides(overrides, kTarget);
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->stages[0].at("max_num_seqs").value, "8");
  EXPECT_EQ(config->stages[0].at("max_num_seqs").origin, "--stage-overrides");
  EXPECT_EQ(config->stages[0].at("default_sampling_params.top_k").value, "3");
  EXPECT_EQ(config->stages[0].at("default_sampling_params.temperature").value, "0.25");
  EXPECT_EQ(config->stages[0].at("default_sampling_params.stop").value, "[a, b]");
  EXPECT_EQ(config->stages[1].at("max_num_seqs").value, "2");
  EXPECT_EQ(config->stages[1].at("devices").value, "cuda:0");
}

TEST(StageOverrides, ErrorsNameTheFlagTheKeyAndTheNearest) {
  EXPECT_EQ(stage_error({"0.max_num_seq=4"}),
            "--stage-overrides: `0.max_num_seq` is not a known key; did you mean `max_num_seqs`?");
  EXPECT_EQ(stage_error({"0.max_num_seqs=0"}),
            "--stage-overrides: `0.max_num_seqs` is 0; allowed is an integer from 1 to 1048576.");
  EXPECT_THAT(stage_error({"tolker.devices=cpu"}), HasSubstr("did you mean 'talker'?"));
  EXPECT_THAT(stage_error({"7.devices=cpu"}), HasSubstr("this model has 0 to 2"));
  EXPECT_THAT(stage_error({R"({"0": {"device": "cpu"}})"}), HasSubstr("did you mean `devices`?"));
  EXPECT_THAT(stage_error({"max_num_seqs"}), HasSubstr("neither STAGE.KEY=VALUE nor a JSON"));
  EXPECT_THAT(stage_error({R"({"0": 4})"}), HasSubstr("`0` is 4; allowed is a mapping"));
  EXPECT_THAT(stage_error({R"({"0": )"}), HasSubstr("this is not YAML"));
}

TEST(DeploySchema, EveryKeyIsWellFormed) {
  for (const DeployKey& key : deploy_keys()) {
    EXPECT_NE(key.where, 0) << key.name;
    if (key.refused || !key.only.empty()) EXPECT_FALSE(key.why.empty()) << key.name;
    if (key.type == DeployType::kInt || key.type == DeployType::kNumber) {
      EXPECT_LT(key.low, key.high) << key.name;
    }
    if (!key.canonical.empty()) {
      EXPECT_NE(find_deploy_key(key.canonical, key.where), nullptr) << key.name;
    }
  }
}

}  // namespace
}  // namespace tutti
