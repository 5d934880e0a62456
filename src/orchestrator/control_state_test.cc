// Control methods that change what stages are, through the engine's own collective_rpc.
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <filesystem>

#include "orchestrator/testing/engine_fixture.h"

namespace tutti::fake {
namespace {

namespace json = boost::json;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

// What the engines of one stage were told, over all of its replicas' lives.
class Told {
 public:
  void add(std::string what) {
    const std::lock_guard lock(mutex_);
    all_.push_back(std::move(what));
  }
  std::vector<std::string> all() {
    const std::lock_guard lock(mutex_);
    return all_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> all_;
};

// A fake with adapters and caches, whose next step throws when `dies` is set.
class ControlledEngine final : public StageEngine {
 public:
  ControlledEngine(int32_t stage, std::shared_ptr<Told> told,
                   std::shared_ptr<std::atomic<bool>> dies)
      : inner_(stage, stage == 0), told_(std::move(told)), dies_(std::move(dies)) {}
  Status admit(StageRequest request) override { return inner_.admit(std::move(request)); }
  Status extend(StageSegment segment) override { return inner_.extend(std::move(segment)); }
  void append(StageChunk chunk) override { inner_.append(std::move(chunk)); }
  std::optional<StageOutput> abort(RequestKey key) override { return inner_.abort(key); }
  bool has_runnable_work() const override { return inner_.has_runnable_work(); }
  void step(std::vector<StageOutput>& outputs) override {
    if (dies_->exchange(false)) throw std::runtime_error("heart failure");
    inner_.step(outputs);
  }
  EngineStats stats() const override { return inner_.stats(); }
  void reset_prefix_cache() override { told_->add("reset_prefix_cache"); }
  void reset_mm_cache() override { told_->add("reset_mm_cache"); }
  std::optional<Result<std::string>> control(const std::string& method,
                                             const std::string& args_json) override {
    if (!method.ends_with("_lora")) return std::nullopt;
    const json::value args = json::parse(args_json);
    told_->add(method + " " + std::string(args.at("lora_name").as_string()));
    return std::string("true");
  }

 private:
  FakeStageEngine inner_;
  const std::shared_ptr<Told> told_;
  const std::shared_ptr<std::atomic<bool>> dies_;
};

class ControlStateTest : public EngineFixture {
 protected:
  void SetUp() override {
    EngineParts parts = fake_parts(omni_specs());
    for (int32_t s = 0; s < 3; ++s) {
      parts.stages[s].load = [s, told = told_, dies = s == 0 ? dies_ : spared_](
                                 const ReportProgress&) -> Result<LoadedStage> {
        LoadedStage loaded;
        loaded.engine = std::make_unique<ControlledEngine>(s, told, dies);
        return loaded;
      };
    }
    start_parts(std::move(parts));
  }
  std::vector<RpcResult> call(const std::string& method, const std::string& kwargs = "",
                              std::vector<int32_t> stages = {}) {
    auto results = engine_->collective_rpc(method, 30, "", kwargs, stages);
    EXPECT_TRUE(results) << method << ": " << results.error().message();
    if (!results) return {};
    for (const RpcResult& result : *results) {
      EXPECT_TRUE(result.status.ok()) << method << ": " << result.status.message();
    }
    return std::move(results).value();
  }
  std::vector<std::string> states(int32_t stage) {
    std::vector<std::string> states;
    for (const RpcResult& result : call("stats", "", {stage})) {
      states.emplace_back(json::parse(result.result_json).at("state").as_string());
    }
    return states;
  }
  void kill_first_replica() {
    const auto lives = [&] { return engine_->stats().retried; };
    const int64_t before = lives();
    *dies_ = true;
    ASSERT_TRUE(engine_->add_request(request("victim", 3)).ok());
    EXPECT_EQ(read_until_end("victim").finish_reason, FinishReason::kStop);
    EXPECT_GT(lives(), before) << "it began again in the replica's next life";
    seen_.erase("victim");
  }

  std::shared_ptr<Told> told_ = std::make_shared<Told>();
  std::shared_ptr<std::atomic<bool>> dies_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<std::atomic<bool>> spared_ = std::make_shared<std::atomic<bool>>(false);
};

TEST_F(ControlStateTest, PauseHoldsStepsAndNewReplicasToo) {
  call("pause");
  EXPECT_TRUE(engine_->stage_pools()[0].paused);
  ASSERT_EQ(engine_->add_replica(0, 30).value(), 1);
  EXPECT_THAT(states(0), ElementsAre("paused", "paused"));
  ASSERT_TRUE(engine_->add_request(request("a", 5)).ok());
  EXPECT_FALSE(engine_->try_get_output(0.05)->has_value());
  call("resume");
  EXPECT_EQ(read_until_end("a").finish_reason, FinishReason::kStop);
  EXPECT_THAT(states(0), Each("running"));
}

TEST_F(ControlStateTest, SleepIsRefusedAsAWholeWhileASessionIsOpen) {
  AddRequest session = request("session", 3);
  session.resumable = true;
  ASSERT_TRUE(engine_->add_request(session).ok());
  const auto refused = engine_->collective_rpc("sleep", 30);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("the oldest is 'session'"));
  for (int32_t s = 0; s < 3; ++s) EXPECT_THAT(states(s), ElementsAre("running"));
  ASSERT_TRUE(engine_->abort({"session"}).ok());
  read_until_end("session");
  call("sleep");
  for (int32_t s = 0; s < 3; ++s) EXPECT_THAT(states(s), ElementsAre("asleep"));
}

TEST_F(ControlStateTest, SleepingStagesRefuseRequestsUntilTheyWakeUp) {
  for (const char* level : {R"({"level":1})", R"({"level":2})"}) {
    call("sleep", level);
    EXPECT_GT(engine_->stage_pools()[1].sleep_level, 0);
    ASSERT_TRUE(engine_->add_request(request("early", 5)).ok());
    EXPECT_THAT(read_until_end("early").error.message(), HasSubstr("wake_up"));
    ASSERT_EQ(engine_->add_replica(1, 30).value(), 1);
    EXPECT_THAT(states(1), ElementsAre("asleep", "asleep"));
    ASSERT_TRUE(engine_->remove_replica(1, 1, 30).ok());
    call("wake_up");
    EXPECT_EQ(engine_->stage_pools()[1].sleep_level, 0);
    ASSERT_TRUE(engine_->add_request(request("late", 5)).ok());
    EXPECT_EQ(read_until_end("late").finish_reason, FinishReason::kStop);
    seen_.clear();
  }
}

TEST_F(ControlStateTest, AdaptersAndPinsSurviveDeathAndDeepSleep) {
  call("add_lora", R"({"lora_name":"poet","lora_path":"/poet"})", {0});
  call("pin_lora", R"({"lora_name":"poet"})", {0});
  EXPECT_THAT(told_->all(), ElementsAre("add_lora poet", "pin_lora poet"));
  kill_first_replica();
  call("ping", "", {0});
  EXPECT_THAT(told_->all(),
              ElementsAre("add_lora poet", "pin_lora poet", "add_lora poet", "pin_lora poet"));
  call("sleep", R"({"level":2})");
  call("wake_up");
  call("ping", "", {0});
  EXPECT_THAT(told_->all(), SizeIs(6));
  call("remove_lora", R"({"lora_name":"poet"})", {0});
  ASSERT_EQ(engine_->add_replica(0, 30).value(), 1);
  call("ping", "", {0});
  EXPECT_THAT(told_->all(), SizeIs(7)) << "the new one knows nothing of it";
}

TEST_F(ControlStateTest, CachesAreResetInEveryReplica) {
  call("reset_prefix_cache");
  call("reset_mm_cache", "", {1});
  EXPECT_THAT(told_->all(), ElementsAre("reset_prefix_cache", "reset_prefix_cache",
                                        "reset_prefix_cache", "reset_mm_cache"));
}

TEST_F(ControlStateTest, EveryReplicaWritesAProfileOfItsOwn) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("tutti-profiles-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  call("start_profile", R"({"path":")" + (folder / "p.json").string() + R"("})");
  ASSERT_EQ(engine_->add_replica(1, 30).value(), 1);
  ASSERT_TRUE(engine_->add_request(request("a", 5)).ok());
  EXPECT_EQ(read_until_end("a").finish_reason, FinishReason::kStop);
  std::vector<std::string> files;
  for (const RpcResult& result : call("stop_profile")) {
    files.emplace_back(json::parse(result.result_json).as_string());
    EXPECT_GT(std::filesystem::file_size(files.back()), 0u);
  }
  EXPECT_THAT(
      files, ElementsAre(HasSubstr("p-stage0-replica0.json"), HasSubstr("p-stage1-replica0.json"),
                         HasSubstr("p-stage1-replica1.json"), HasSubstr("p-stage2-replica0.json")));
  std::filesystem::remove_all(folder);
  const auto refused =
      engine_->collective_rpc("start_profile", 30, "", R"({"path":"/no/such/place/p.json"})");
  ASSERT_TRUE(refused);
  for (const RpcResult& result : *refused) {
    EXPECT_THAT(result.status.message(), HasSubstr("cannot be written"));
  }
}

}  // namespace
}  // namespace tutti::fake
