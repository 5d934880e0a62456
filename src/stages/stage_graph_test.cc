#include "stages/stage_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stages/testing/fake_stage_engine.h"

namespace tutti {
namespace {

using fake::fake_spec;
using testing::ElementsAre;
using testing::HasSubstr;

std::string error_of(std::vector<StageSpec> specs) {
  const auto graph = StageGraph::build(std::move(specs));
  return graph ? "none" : graph.error().message();
}

TEST(StageGraph, RefusesWhatIsNoGraph) {
  EXPECT_THAT(error_of({}), HasSubstr("no stages"));
  EXPECT_THAT(error_of({fake_spec("a", {}, "text"), fake_spec("b", {7})}),
              HasSubstr("stage 1 (b) has the source 7, but the stages are 0 to 1"));
  EXPECT_THAT(error_of({fake_spec("a", {0}, "text")}), HasSubstr("its own source"));
  EXPECT_THAT(error_of({fake_spec("a", {}, "text"), fake_spec("b", {0, 0})}), HasSubstr("twice"));
  EXPECT_THAT(error_of({fake_spec("a", {}, "text"), fake_spec("b", {2}), fake_spec("c", {1})}),
              HasSubstr("cycle"));
  EXPECT_THAT(error_of({fake_spec("a", {}), fake_spec("b", {0})}), HasSubstr("final output"));
  StageSpec without = fake_spec("b", {0}, "text");
  without.input_processor = nullptr;
  EXPECT_THAT(error_of({fake_spec("a", {}), without}), HasSubstr("no input processor"));
}

TEST(StageGraph, KnowsWhatAnOutputNeeds) {
  const StageGraph graph = StageGraph::build(fake::omni_specs()).value();
  EXPECT_THAT(graph.final_stages(), ElementsAre(0, 2));
  EXPECT_THAT(graph.consumers(0), ElementsAre(1));
  const std::vector<int32_t> text{0}, audio{2};
  EXPECT_THAT(graph.needed_for(text), ElementsAre(1, 0, 0));
  EXPECT_THAT(graph.needed_for(audio), ElementsAre(1, 1, 1));
  const StageRuntimeInfo info = graph.runtime_info(2);
  EXPECT_TRUE(info.final_output);
  EXPECT_EQ(info.final_output_type, "audio");
  EXPECT_EQ(info.model_stage, "code2wav");
  EXPECT_EQ(info.stage_type, "llm");
}

}  // namespace
}  // namespace tutti
