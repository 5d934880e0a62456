#include "models/qwen3_omni_moe/thinker.h"

#include <gmock/gmock.h>

#include "models/allocation_count_test_util.h"
#include "models/qwen3_omni_moe/test_util.h"

namespace tutti::qwen3_omni_moe {
namespace {

using testing::ArRunner;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ThinkerTest : public CheckpointTest {
 protected:
  void SetUp() override {
    CheckpointTest::SetUp();
    model_ = load(0);
  }
  std::unique_ptr<ArSequence> start(std::vector<int32_t> ids) {
    StageInput input;
    input.payload.token_ids = std::move(ids);
    auto sequence = model_->start(input);
    EXPECT_TRUE(sequence.ok()) << sequence.error().message();
    return std::move(*sequence);
  }
  std::string error_of(std::vector<int32_t> ids) {
    StageInput input;
    input.payload.token_ids = std::move(ids);
    const auto sequence = model_->start(input);
    return sequence.ok() ? "" : sequence.error().message();
  }

  std::unique_ptr<ArModel> model_;
  const std::vector<int32_t> prompt_ = {5, 17, 300, 8, 42, 7, 7, 900, 23, 11};
};

TEST_F(ThinkerTest, LogitsDoNotDependOnChunksOrNeighbours) {
  ArRunner alone(*model_, *executor_, 1, 32);
  alone.put(0, start(prompt_));
  alone.step({{0, 10}});
  const std::vector<float> first = alone.slot(0).logits;
  alone.step({{0, 1}});
  const std::vector<float> second = alone.slot(0).logits;

  ArRunner batch(*model_, *executor_, 3, 32);
  batch.put(0, start({1, 2, 3, 4, 5, 6, 7}));
  batch.put(1, start(prompt_));
  batch.put(2, start({9, 9}));
  batch.step({{0, 7}, {1, 3, false}});
  batch.step({{1, 7}, {0, 1}, {2, 2}});
  EXPECT_EQ(batch.slot(1).logits, first);
  batch.step({{2, 1}, {1, 1}, {0, 1}});
  EXPECT_EQ(batch.slot(1).logits, second);
}

TEST_F(ThinkerTest, RecomputingAfterPreemptionGivesTheSameLogits) {
  ArRunner runner(*model_, *executor_, 1, 32);
  runner.put(0, start(prompt_));
  runner.step({{0, 10}});
  runner.step({{0, 1}});
  runner.step({{0, 1}});
  const std::vector<float> logits = runner.slot(0).logits;
  runner.preempt(0);
  runner.slot(0).generated.pop_back();
  runner.step({{0, 12}});
  EXPECT_EQ(runner.slot(0).logits, logits);
}

TEST_F(ThinkerTest, HandsOverIdsOnceTheyAreFedBack) {
  ArRunner runner(*model_, *executor_, 1, 32);
  auto& slot = runner.put(0, start({5, 6, 7}));
  runner.step({{0, 2, false}});
  StagePayload payload = model_->take_payload(*slot.sequence);
  EXPECT_THAT(payload.token_ids, ElementsAre(5, 6));
  ASSERT_TRUE(payload.tensors.contains("prompt_length"));
  EXPECT_EQ(payload.tensors["prompt_length"].data<int32_t>()[0], 3);
  runner.step({{0, 1}});
  payload = model_->take_payload(*slot.sequence);
  EXPECT_THAT(payload.token_ids, ElementsAre(7));
  EXPECT_TRUE(payload.tensors.empty());
  runner.step({{0, 1}});
  EXPECT_THAT(model_->take_payload(*slot.sequence).token_ids, ElementsAre(slot.generated[0]));
  // What is recomputed does not go out again.
  runner.preempt(0);
  slot.generated.pop_back();
  runner.step({{0, 4}});
  EXPECT_THAT(model_->take_payload(*slot.sequence).token_ids, ElementsAre());
  runner.step({{0, 1}});
  EXPECT_THAT(model_->take_payload(*slot.sequence).token_ids, ElementsAre(slot.generated[1]));
}

TEST_F(ThinkerTest, HandsOverTheHiddenRowsOfMediaPositions) {
  const auto audio = static_cast<int32_t>(config_.thinker.audio_token_id);
  std::vector<float> accepted;
  model_->set_probe([&](std::string_view name, const Tensor& x) {
    if (name != "hidden." + std::to_string(config_.talker.accept_hidden_layer)) return;
    accepted.assign(x.data<float>(), x.data<float>() + x.num_elements());
  });
  ArRunner runner(*model_, *executor_, 1, 32);
  auto& slot = runner.put(0, start({5, audio, 6, audio}));
  runner.step({{0, 4}});
  StagePayload payload = model_->take_payload(*slot.sequence);
  const int64_t width = config_.thinker.text.hidden_size;
  ASSERT_TRUE(payload.tensors.contains("hidden"));
  const Tensor hidden = payload.tensors["hidden"];
  ASSERT_EQ(hidden.shape(), (Shape{2, width}));
  for (int64_t i = 0; i < width; ++i) {
    EXPECT_EQ(hidden.data<float>()[i], accepted[width + i]);
    EXPECT_EQ(hidden.data<float>()[width + i], accepted[3 * width + i]);
  }
}

TEST_F(ThinkerTest, DecodingAllocatesNothing) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
  ArRunner runner(*model_, *executor_, 2, 64);
  runner.put(0, start(prompt_));
  runner.put(1, start({1, 2, 3}));
  runner.step({{0, 10}, {1, 3}});
  uint64_t begin = 0, during = 0;
  for (int i = 0; i < 8; ++i) {
    if (i == 2) {
      // Ids that wait for the next stage grow a buffer: taken as an engine does.
      runner.around_model = [&](bool begins) {
        (begins ? begin : during) =
            begins ? testing::allocation_count() : during + testing::allocation_count() - begin;
      };
    }
    for (int s = 0; s < 2; ++s) {
      auto& sequence = static_cast<ThinkerSequence&>(*runner.slot(s).sequence);
      sequence.new_ids.clear();
    }
    runner.step({{0, 1}, {1, 1}});
  }
  EXPECT_EQ(during, 0u);
}

TEST_F(ThinkerTest, RefusesIdsOutsideTheVocabulary) {
  EXPECT_THAT(error_of({}), HasSubstr("empty"));
  EXPECT_THAT(error_of({5, 1280}), HasSubstr("token id 1280; this model has 0 to 1279"));
  EXPECT_THAT(error_of({-1}), HasSubstr("token id -1"));
}

TEST_F(ThinkerTest, DescribesItself) {
  const ArModelInfo& info = model_->info();
  EXPECT_EQ(info.vocab_size, 1280);
  EXPECT_EQ(info.num_layers, 4);
  EXPECT_EQ(info.num_key_value_heads, 2);
  EXPECT_EQ(info.head_dim, 32);
  EXPECT_EQ(info.kv_dtype, DType::kF32);
  EXPECT_THAT(info.eos_token_ids, ElementsAre(1202));
  EXPECT_TRUE(info.suppressed_token_ids.empty());
}

}  // namespace
}  // namespace tutti::qwen3_omni_moe
