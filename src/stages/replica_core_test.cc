// Control methods of a replica: what they do, and the sentences of their errors.
#include "stages/replica_core.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "stages/testing/fake_stage_engine.h"

namespace tutti {
namespace {

class ReplicaCoreTest : public ::testing::Test {
 protected:
  void make(StageEngineFactory factory = {}) {
    auto graph = StageGraph::build({fake::fake_spec("thinker", {}, "text")});
    ASSERT_TRUE(graph.ok());
    core_ = std::make_unique<ReplicaCore>(
        StageId(0), ReplicaId(3), std::make_shared<const StageGraph>(*graph),
        std::make_unique<fake::FakeStageEngine>(0, true), std::move(factory));
  }
  void SetUp() override { make(); }

  Result<std::string> call(const std::string& method, const std::string& args = "") {
    std::vector<StageOutput> outputs;
    core_->apply(RpcCommand{7, method, args}, outputs);
    std::vector<CommandAnswer> answers = core_->take_answers();
    EXPECT_EQ(answers.size(), 1u);
    const auto& event = std::get<RpcEvent>(answers.at(0));
    EXPECT_EQ(event.ticket, 7u);
    return event.result_json;
  }
  std::string error(const std::string& method, const std::string& args = "") {
    const Result<std::string> result = call(method, args);
    return result.ok() ? "" : result.error().message();
  }
  std::vector<StageOutput> submit(uint64_t key, int32_t tokens) {
    auto request = std::make_unique<StageRequest>();
    request->key = RequestKey(key);
    request->sampling_params.max_tokens = tokens;
    std::vector<StageOutput> outputs;
    core_->apply(SubmitCommand{std::move(request), {}, true}, outputs);
    return outputs;
  }
  void run() {
    std::vector<StageOutput> outputs;
    while (core_->has_runnable_work()) ASSERT_TRUE(core_->step(outputs).ok());
  }

  std::unique_ptr<ReplicaCore> core_;
};

TEST_F(ReplicaCoreTest, AnUnknownMethodListsTheKnownOnes) {
  EXPECT_EQ(call("ping").value(), "\"pong\"");
  const Result<std::string> result = call("dance");
  EXPECT_EQ(result.error().code(), StatusCode::kNotFound);
  EXPECT_EQ(result.error().message(),
            "The control method 'dance' is unknown; this stage has: ping, stats, "
            "reset_prefix_cache, reset_mm_cache, pause, resume, sleep, wake_up, start_profile, "
            "stop_profile.");
}

TEST_F(ReplicaCoreTest, ArgumentsAreJsonObjectsWithKnownNames) {
  EXPECT_EQ(error("ping", "[1]"), "The arguments of 'ping' are not a JSON object: [1].");
  EXPECT_EQ(error("ping", "{"), "The arguments of 'ping' are not a JSON object: {.");
  EXPECT_EQ(error("ping", R"({"loud": true})"),
            "The control method 'ping' has no argument 'loud'; it takes none.");
  EXPECT_EQ(error("sleep", R"({"levle": 1})"),
            "The control method 'sleep' has no argument 'levle'; it takes level.");
  EXPECT_EQ(error("sleep", R"({"level": 3})"),
            "`level` is 3; it must be 1 (the KV cache is given back) or 2 (the weights too).");
  EXPECT_TRUE(call("reset_prefix_cache", "{}").ok());
  EXPECT_TRUE(call("reset_mm_cache", "null").ok());
}

TEST_F(ReplicaCoreTest, APausedReplicaTakesCommandsAndDoesNotStep) {
  ASSERT_TRUE(call("pause").ok());
  EXPECT_TRUE(submit(1, 4).empty());
  EXPECT_TRUE(submit(2, 4).empty());
  EXPECT_FALSE(core_->has_runnable_work());
  EXPECT_NE(call("stats").value().find("\"state\":\"paused\""), std::string::npos);
  std::vector<StageOutput> outputs;
  core_->apply(AbortCommand{RequestKey(1)}, outputs);
  EXPECT_EQ(core_->take_answers().size(), 1u);
  ASSERT_TRUE(call("resume").ok());
  EXPECT_TRUE(core_->has_runnable_work());
  run();
}

TEST_F(ReplicaCoreTest, SleepsOnlyWithoutRequestsAndRefusesThemMeanwhile) {
  submit(1, 4);
  EXPECT_EQ(error("sleep"),
            "The replica of stage 0 (thinker) cannot sleep: 1 request is in progress.");
  run();
  ASSERT_TRUE(call("sleep").ok());
  const std::vector<StageOutput> refused = submit(2, 4);
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].error.code(), StatusCode::kUnavailable);
  EXPECT_EQ(
      refused[0].error.message(),
      "The replica of stage 0 (thinker) sleeps (level 1); wake_up lets it take requests again.");
  EXPECT_EQ(error("sleep", R"({"level": 2})"),
            "This replica cannot give its weights back; `level` 1 is allowed.");
  ASSERT_TRUE(call("wake_up").ok());
  EXPECT_TRUE(submit(3, 4).empty());
  run();
}

TEST_F(ReplicaCoreTest, TheDeepestSleepMakesTheEngineAgain) {
  int made = 0;
  bool fails = true;
  make([&]() -> Result<std::unique_ptr<StageEngine>> {
    if (fails) return not_found("The weights are gone.");
    ++made;
    return std::unique_ptr<StageEngine>(std::make_unique<fake::FakeStageEngine>(0, true));
  });
  ASSERT_TRUE(call("sleep", R"({"level": 2})").ok());
  EXPECT_FALSE(core_->has_runnable_work());
  EXPECT_EQ(submit(1, 4).size(), 1u);
  std::vector<StageOutput> outputs;
  core_->apply(AbortCommand{RequestKey(1)}, outputs);
  EXPECT_EQ(core_->take_answers().size(), 1u);
  EXPECT_TRUE(call("stats").ok());
  // Not "unknown": the engine that would know it is away.
  EXPECT_EQ(error("add_lora", R"({"lora_name": "a", "lora_path": "/a"})"),
            "The replica of stage 0 (thinker) sleeps (level 2); wake_up lets it take requests "
            "again.");
  EXPECT_EQ(error("wake_up"), "The weights are gone.");
  fails = false;
  ASSERT_TRUE(call("wake_up").ok());
  EXPECT_EQ(made, 1);
  EXPECT_TRUE(submit(2, 4).empty());
  run();
}

// Names of the events of a profile, and how often each is there.
std::map<std::string, int> events_of(const std::string& text) {
  std::map<std::string, int> count;
  const boost::json::value trace = boost::json::parse(text);
  for (const auto& event : trace.at("traceEvents").as_array()) {
    ++count[std::string(event.at("name").as_string())];
  }
  return count;
}

TEST_F(ReplicaCoreTest, AProfileHoldsTheStepsBetweenItsBeginningAndItsEnd) {
  EXPECT_EQ(error("stop_profile"), "No profile is being recorded; start_profile begins one.");
  submit(1, 2);
  run();
  ASSERT_TRUE(call("start_profile").ok());
  EXPECT_EQ(error("start_profile"), "A profile is being recorded already; stop_profile ends it.");
  submit(2, 4);
  const int64_t before = core_->stats().steps;
  run();
  const int64_t steps = core_->stats().steps - before;
  const Result<std::string> profile = call("stop_profile");
  ASSERT_TRUE(profile.ok()) << profile.error().message();
  std::map<std::string, int> events = events_of(*profile);
  ASSERT_GT(steps, 0);
  for (const char* name : {"step", "schedule", "run", "publish"}) {
    EXPECT_EQ(events[name], steps) << name;
  }
  EXPECT_EQ(error("stop_profile"), "No profile is being recorded; start_profile begins one.");
}

TEST_F(ReplicaCoreTest, AProfileGoesToTheFileThatItsBeginningNames) {
  EXPECT_EQ(error("start_profile", R"({"path": 7})"),
            "`path` is 7; it must be the name of a file.");
  const std::string path = std::filesystem::temp_directory_path() /
                           ("tutti-profile-" + std::to_string(getpid()) + ".json");
  ASSERT_TRUE(call("start_profile", R"({"path": ")" + path + R"("})").ok());
  submit(1, 3);
  run();
  // All replicas are given the same name, and each writes a file of its own.
  const std::string written =
      std::filesystem::temp_directory_path() /
      ("tutti-profile-" + std::to_string(getpid()) + "-stage0-replica3.json");
  EXPECT_EQ(call("stop_profile").value(), "\"" + written + "\"");
  std::ifstream in(written);
  std::stringstream text;
  text << in.rdbuf();
  std::filesystem::remove(written);
  EXPECT_GT(events_of(text.str())["step"], 0);

  EXPECT_EQ(error("start_profile", R"({"path": "/no/such/directory/profile.json"})"),
            "The file '/no/such/directory/profile-stage0-replica3.json' cannot be written: No such "
            "file or directory.");
  EXPECT_EQ(error("stop_profile"), "No profile is being recorded; start_profile begins one.");
}

}  // namespace
}  // namespace tutti
