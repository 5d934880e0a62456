// The plan before loading: what is counted, what is counted once, and the error when it is too
// much.
#include "stages/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace tutti {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kModel =
    std::string(TUTTI_TEST_DATA) + "/goldens/qwen3_omni_moe/checkpoint";

class PlanOfTheTinyModel : public ::testing::Test {
 protected:
  void SetUp() override {
    load_.model_dir = kModel;
    auto opened = open_pipeline(load_);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    pipeline_ = std::move(*opened);
  }

  Result<MemoryPlan> plan(const EngineOptions& options) {
    auto config = resolve_engine_config(options, *pipeline_);
    EXPECT_TRUE(config.ok()) << config.error().message();
    config_ = *config;
    load_.auto_dtype = config_.options.dtype == "auto";
    load_.dtype = config_.options.dtype == "bfloat16" ? DType::kBF16 : DType::kF32;
    load_.dummy_weights = config_.options.load_format == "dummy";
    return plan_memory(*pipeline_, load_, 2, config_);
  }
  MemoryPlan good_plan(const EngineOptions& options) {
    auto made = plan(options);
    EXPECT_TRUE(made.ok()) << made.error().message();
    return made.ok() ? *made : MemoryPlan();
  }

  LoadOptions load_;
  std::unique_ptr<Pipeline> pipeline_;
  EngineConfig config_;
};

int64_t weights(const MemoryPlan& plan) {
  int64_t sum = 0;
  for (const StageMemory& stage : plan.stages) {
    sum += stage.mapped_weight_bytes + stage.copied_weight_bytes;
  }
  return sum;
}

TEST_F(PlanOfTheTinyModel, WeightsAreThoseOfTheFiles) {
  int64_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kModel)) {
    if (entry.path().extension() == ".safetensors") {
      files += static_cast<int64_t>(entry.file_size());
    }
  }
  ASSERT_GT(files, 0);
  const int64_t planned = weights(good_plan({}));
  // The talker maps the thinker's embedding table, too; headers are no weights.
  EXPECT_GT(planned, files * 9 / 10);
  EXPECT_LT(planned, files * 12 / 10);
}

TEST_F(PlanOfTheTinyModel, ConvertedWeightsAreCopies) {
  EngineOptions options;
  options.dtype = "bfloat16";
  const MemoryPlan narrow = good_plan(options);
  options.dtype = "float32";
  const MemoryPlan wide = good_plan(options);
  EXPECT_LT(weights(narrow), weights(wide));
  for (size_t s = 0; s < wide.stages.size(); ++s) {
    const auto copies = [](const StageMemory& stage) {
      return stage.copied_weight_bytes > stage.mapped_weight_bytes;
    };
    EXPECT_TRUE(copies(narrow.stages[s]) || copies(wide.stages[s]))
        << "a checkpoint has one precision: " << wide.stages[s].name;
  }
  options.load_format = "dummy";
  EXPECT_EQ(good_plan(options).stages[0].mapped_weight_bytes, 0);
}

TEST_F(PlanOfTheTinyModel, ReplicasMultiplyAllButWeights) {
  EngineOptions options;
  options.dtype = "float32";  // converted once, shared by the process's replicas
  const MemoryPlan one = good_plan(options);
  options.stage_overrides = {"0.num_replicas=3"};
  const MemoryPlan three = good_plan(options);
  const StageMemory& thinker = one.stages[0];
  EXPECT_EQ(three.stages[0].total_bytes() - thinker.total_bytes(),
            2 * (thinker.kv_cache_bytes + thinker.mm_cache_bytes));
  EXPECT_GT(thinker.copied_weight_bytes, 0);
  EXPECT_EQ(three.devices[0].workspace_bytes, one.devices[0].workspace_bytes)
      << "steps of a device run one at a time";
  options.stage_overrides.emplace_back("0.worker_process=true");
  EXPECT_EQ(good_plan(options).devices[0].needed_bytes - three.devices[0].needed_bytes,
            2 * thinker.copied_weight_bytes + 3 * thinker.workspace_bytes +
                good_plan(options).devices[0].workspace_bytes - three.devices[0].workspace_bytes);
}

TEST_F(PlanOfTheTinyModel, TheCacheIsNoLargerThanItsUse) {
  EngineOptions options;
  options.kv_cache_bytes = int64_t{1} << 40;
  options.max_num_seqs = 2;
  options.max_model_len = 64;
  const MemoryPlan plan = good_plan(options);
  EXPECT_LT(plan.stages[0].kv_cache_bytes, int64_t{1} << 22);
  EXPECT_EQ(plan.stages[2].kv_cache_bytes, 0);
  EXPECT_GT(plan.stages[2].state_bytes, 0);
}

// API.md, Construction: stages that do not fit are an error before loading, with the sum per
// device.
TEST_F(PlanOfTheTinyModel, WhatDoesNotFitIsATable) {
  EngineOptions options;
  options.device_memory_bytes = 1000;
  const Status status = good_plan(options).check();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  for (const char* part : {"The stages do not fit the memory: cpu needs ", " and has 1.0 KB",
                           "thinker", "talker", "code2wav", "weights + ", "KV cache", "scratch",
                           "available 1.0 KB (device_memory_bytes)"}) {
    EXPECT_THAT(status.message(), HasSubstr(part));
  }
  options.device_memory_bytes = int64_t{1} << 40;
  EXPECT_TRUE(good_plan(options).check().ok());
}

TEST_F(PlanOfTheTinyModel, AShareOfTheMemoryBecomesTheCache) {
  EngineOptions options;
  options.device_memory_bytes = int64_t{2} << 30;
  options.mm_cache_bytes = 0;
  options.max_num_seqs = 100000;  // so that the share, not the need, is the limit
  options.stage_overrides = {"0.gpu_memory_utilization=0.5"};
  const MemoryPlan made = good_plan(options);
  const StageMemory& thinker = made.stages[0];
  const int64_t whole = thinker.total_bytes() + thinker.workspace_bytes;
  EXPECT_LE(whole, int64_t{1} << 30);
  EXPECT_GT(whole, (int64_t{1} << 30) - (int64_t{1} << 20));
  ASSERT_TRUE(config_.options.stages[0].kv_cache_bytes.has_value());

  options.stage_overrides = {"0.gpu_memory_utilization=0.0001"};
  const auto none = plan(options);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(
      none.error().message(),
      HasSubstr("`gpu_memory_utilization` of stage 0 (thinker) is 0.0001, which is 214.7 KB"));
  options.stage_overrides.emplace_back("0.kv_cache_memory_bytes=4096");
  EXPECT_TRUE(plan(options).ok()) << "an explicit size wins over a share";
}

// Issue 4: it was cut silently.
TEST_F(PlanOfTheTinyModel, ALengthBeyondTheModelsIsShownAsWhatItIs) {
  EngineOptions options;
  options.max_model_len = 100'000'000;
  good_plan(options);
  EXPECT_LT(*config_.options.stages[0].max_model_len, 100'000'000);
  EXPECT_THAT(engine_config_yaml(config_), HasSubstr("100000000 is more than the model has"));
  options.max_model_len = 64;
  good_plan(options);
  EXPECT_EQ(*config_.options.stages[0].max_model_len, 64);
}

// Issue 4: add_replica went ahead whatever was left.
TEST_F(PlanOfTheTinyModel, AFurtherReplicaMustFit) {
  EngineOptions options;
  options.worker_processes = true;
  const int64_t needed = good_plan(options).devices[0].needed_bytes;
  const int64_t one = good_plan(options).stages[0].replica_bytes();
  options.device_memory_bytes = needed + one;
  const MemoryPlan plan = good_plan(options);
  EXPECT_TRUE(plan.check_added(0, 1).ok());
  const Status full = plan.check_added(0, 2);
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(full.message(), HasSubstr("A further replica of stage 0 (thinker) needs "));
  EXPECT_THAT(full.message(), HasSubstr("left of device_memory_bytes"));
  options.device_memory_bytes = 0;
  EXPECT_TRUE(good_plan(options).check_added(2, 1).ok()) << "there is room on this machine";
}

TEST(HostMemory, LeavesAReserve) {
  const HostMemory memory = host_memory();
  EXPECT_GT(memory.available_bytes, 0);
  EXPECT_THAT(memory.limit, HasSubstr("less a reserve of"));
}

}  // namespace
}  // namespace tutti
