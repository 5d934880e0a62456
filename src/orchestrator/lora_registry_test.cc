#include "orchestrator/lora_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LoraRegistryTest : public testing::Test {
 protected:
  static RpcResult answer(int32_t stage, Status status = {}) {
    return {.stage_id = stage, .replica_id = 0, .status = std::move(status), .result_json = {}};
  }
  Status resolve(const std::string& name, const std::string& path = {}) {
    request_ = {name, path};
    return registry_.resolve(request_);
  }
  std::vector<std::string> calls_;
  std::vector<RpcResult> results_ = {answer(0), answer(1)};
  LoraRequest request_;
  LoraRegistry registry_{[this](const std::string& method, const std::string& kwargs) {
    calls_.push_back(method + " " + kwargs);
    return Result<std::vector<RpcResult>>(results_);
  }};
};

TEST_F(LoraRegistryTest, LoadsAnAdapterAtItsFirstUseAndKnowsItAfterwards) {
  ASSERT_TRUE(resolve("poet", "/p").ok());
  EXPECT_THAT(calls_, ElementsAre(R"(add_lora {"lora_name":"poet","lora_path":"/p"})"));
  ASSERT_TRUE(resolve("poet").ok());
  EXPECT_EQ(request_.lora_path, "/p") << "for replicas that start again";
  ASSERT_TRUE(resolve("poet", "/p").ok());
  EXPECT_EQ(calls_.size(), 1u);
  EXPECT_THAT(resolve("poet", "/q").message(), HasSubstr("loaded from '/p', not from '/q'"));
  EXPECT_THAT(resolve("bard").message(), HasSubstr("no adapter 'bard'; loaded are: 'poet'"));
}

TEST_F(LoraRegistryTest, StagesThatTakeNoAdaptersAreNoFailure) {
  results_ = {answer(0), answer(1, unimplemented("no adapters")), answer(2, not_found("unknown"))};
  EXPECT_TRUE(resolve("poet", "/p").ok());
  results_ = {answer(2, unimplemented("no adapters"))};
  EXPECT_THAT(resolve("bard", "/b").message(), HasSubstr("no stage of this model takes adapters"));
}

TEST_F(LoraRegistryTest, AnAdapterThatAStageRefusesIsGivenBack) {
  results_ = {answer(0), answer(1, invalid_argument("The rank is 99; at most 64."))};
  const Status status = resolve("poet", "/p");
  EXPECT_EQ(status.param(), "lora_request");
  EXPECT_THAT(status.message(), HasSubstr("in stage 1: The rank is 99"));
  EXPECT_THAT(calls_.back(), HasSubstr("remove_lora"));
  EXPECT_THAT(resolve("poet").message(), HasSubstr("no adapter 'poet'"));
}

TEST_F(LoraRegistryTest, FollowsWhatCallersLoadAndRemove) {
  registry_.called("add_lora", R"({"lora_name":"poet","lora_path":"/p"})", results_);
  ASSERT_TRUE(resolve("poet").ok());
  registry_.called("ping", "{}", results_);
  registry_.called("remove_lora", R"({"lora_name":"poet"})", results_);
  EXPECT_FALSE(resolve("poet").ok());
  EXPECT_TRUE(calls_.empty());
}

}  // namespace
}  // namespace tutti
