#include "models/qwen3_omni_moe/talker.h"

#include <gmock/gmock.h>

#include "base/testing/counting_allocator.h"
#include "models/qwen3_omni_moe/test_util.h"

namespace tutti::qwen3_omni_moe {
namespace {

using testing::ArRunner;
using ::testing::HasSubstr;

class TalkerTest : public CheckpointTest {
 protected:
  void SetUp() override {
    CheckpointTest::SetUp();
    model_ = load(1);
    const auto id = [](int64_t token) { return static_cast<int32_t>(token); };
    // <|im_start|>user ... <|im_start|>assistant\n
    prompt_ = {id(config_.im_start_token_id), id(config_.user_token_id),      198, 40, 50, 60,
               id(config_.im_start_token_id), id(config_.assistant_token_id), 198};
  }
  static StagePayload payload(std::vector<int32_t> ids, int64_t prompt_length = -1) {
    StagePayload out;
    out.token_ids = std::move(ids);
    if (prompt_length >= 0) {
      out.tensors["prompt_length"] =
          Tensor::from_vector(std::vector<int32_t>{static_cast<int32_t>(prompt_length)}, {1});
    }
    return out;
  }
  std::unique_ptr<ArSequence> start(const std::vector<int32_t>& ids, bool last,
                                    const std::string& voice = "") {
    StageInput input;
    input.payload = payload(ids, static_cast<int64_t>(prompt_.size()));
    input.last = last;
    input.voice = voice;
    auto sequence = model_->start(input);
    EXPECT_TRUE(sequence.ok()) << sequence.error().message();
    return std::move(*sequence);
  }
  std::vector<int32_t> with_words(const std::vector<int32_t>& words) const {
    std::vector<int32_t> ids = prompt_;
    ids.insert(ids.end(), words.begin(), words.end());
    return ids;
  }
  static std::vector<int32_t> codes(const ArRunner::Slot& slot) {
    return static_cast<const TalkerSequence&>(*slot.sequence).codes;
  }

  std::unique_ptr<ArModel> model_;
  std::vector<int32_t> prompt_;
  // Six user rows, three of the header, four paddings, begin-of-text, the first word.
  const int64_t prompt_rows_ = 15;
};

TEST_F(TalkerTest, WaitsForTheFirstWord) {
  auto sequence = start(prompt_, false);
  EXPECT_EQ(model_->prompt_length(*sequence), -1);
  EXPECT_FALSE(model_->ends_empty(*sequence));
  ASSERT_TRUE(model_->append(*sequence, payload({70}), false).ok());
  EXPECT_EQ(model_->prompt_length(*sequence), prompt_rows_);
  EXPECT_FALSE(model_->input_ready(*sequence, 0));
  ASSERT_TRUE(model_->append(*sequence, payload({71}), false).ok());
  EXPECT_TRUE(model_->input_ready(*sequence, 0));
  EXPECT_FALSE(model_->input_ready(*sequence, 1));
  ASSERT_TRUE(model_->append(*sequence, {}, true).ok());
  EXPECT_TRUE(model_->input_ready(*sequence, 1));
  EXPECT_TRUE(model_->input_ready(*sequence, 100));
}

TEST_F(TalkerTest, AnEmptyAnswerEndsAtOnce) {
  auto sequence = start(prompt_, true);
  EXPECT_TRUE(model_->ends_empty(*sequence));
  EXPECT_EQ(model_->prompt_length(*sequence), -1);
}

TEST_F(TalkerTest, StreamedTextGivesTheSameCodes) {
  const std::vector<int32_t> words = {70, 71, 72, 73};
  ArRunner whole(*model_, *executor_, 1, 64);
  whole.put(0, start(with_words(words), true));
  whole.step({{0, prompt_rows_}});
  for (int i = 0; i < 7; ++i) whole.step({{0, 1}});

  ArRunner streamed(*model_, *executor_, 1, 64);
  auto& slot = streamed.put(0, start({prompt_.begin(), prompt_.begin() + 4}, false));
  ASSERT_TRUE(
      model_->append(*slot.sequence, payload({prompt_.begin() + 4, prompt_.end()}), false).ok());
  ASSERT_TRUE(model_->append(*slot.sequence, payload({70}), false).ok());
  streamed.step({{0, 6, false}});
  streamed.step({{0, prompt_rows_ - 6}});
  for (int i = 0; i < 7; ++i) {
    if (i < 3) ASSERT_TRUE(model_->append(*slot.sequence, payload({words[i + 1]}), false).ok());
    if (i == 3) ASSERT_TRUE(model_->append(*slot.sequence, {}, true).ok());
    ASSERT_TRUE(model_->input_ready(*slot.sequence, i));
    streamed.step({{0, 1}});
  }
  EXPECT_EQ(codes(slot), codes(whole.slot(0)));
  EXPECT_EQ(codes(slot).size(), 8u * 4u);
}

TEST_F(TalkerTest, CodesDoNotDependOnNeighboursOrPreemption) {
  const auto run = [&](bool neighbours, bool preempted) {
    ArRunner runner(*model_, *executor_, 2, 64);
    auto& slot = runner.put(1, start(with_words({70, 71}), true));
    slot.seed = 5;
    if (neighbours) runner.put(0, start(with_words({80, 81, 82}), true, "chelsie")).seed = 6;
    runner.step({{1, prompt_rows_}});
    for (int64_t i = 0; i < 5; ++i) {
      if (preempted && i == 3) {
        runner.preempt(1);
        runner.step({{1, prompt_rows_ + i + 1}});
      } else if (neighbours) {
        runner.step({{0, i == 0 ? prompt_rows_ : 1}, {1, 1}});
      } else {
        runner.step({{1, 1}});
      }
    }
    return codes(runner.slot(1));
  };
  const std::vector<int32_t> alone = run(false, false);
  EXPECT_EQ(run(true, false), alone);
  EXPECT_EQ(run(false, true), alone);
}

TEST_F(TalkerTest, SamplesResidualCodesFromTheSeedUnlessGreedy) {
  const auto run = [&](float temperature, uint64_t seed) {
    ArRunner runner(*model_, *executor_, 1, 64);
    auto& slot = runner.put(0, start(with_words({70, 71}), true));
    slot.params.temperature = temperature;
    slot.seed = seed;
    runner.step({{0, prompt_rows_}});
    return codes(slot);
  };
  EXPECT_EQ(run(0, 1), run(0, 2));
  EXPECT_EQ(run(1, 1), run(1, 1));
  EXPECT_NE(run(1, 1), run(1, 2));
}

TEST_F(TalkerTest, VoicesSoundDifferent) {
  const auto logits = [&](const std::string& voice) {
    ArRunner runner(*model_, *executor_, 1, 64);
    runner.put(0, start(with_words({70}), true, voice));
    runner.step({{0, prompt_rows_}});
    return runner.slot(0).logits;
  };
  EXPECT_NE(logits("ethan"), logits("chelsie"));
  StageInput input;
  input.voice = "nobody";
  EXPECT_THAT(model_->start(input).error().message(), HasSubstr("no voice 'nobody'"));
}

TEST_F(TalkerTest, HandsOverEachFrameOnce) {
  ArRunner runner(*model_, *executor_, 1, 64);
  auto& slot = runner.put(0, start(with_words({70, 71}), true));
  runner.step({{0, prompt_rows_}});
  StagePayload first = model_->take_payload(*slot.sequence);
  ASSERT_EQ(first.tensors["codes"].shape(), (Shape{1, 4}));
  EXPECT_EQ(first.tensors["codes"].data<int32_t>()[0], slot.generated[0]);
  EXPECT_TRUE(model_->take_payload(*slot.sequence).empty());
  runner.step({{0, 1}});
  runner.step({{0, 1}});
  EXPECT_EQ(model_->take_payload(*slot.sequence).tensors["codes"].shape(), (Shape{2, 4}));
}

TEST_F(TalkerTest, ReadsMediaRowsInOrder) {
  const auto image = static_cast<int32_t>(config_.thinker.image_token_id);
  std::vector<int32_t> ids = with_words({70});
  ids[3] = image;
  ids[4] = image;
  const int64_t width = config_.thinker.text.hidden_size;
  const auto inputs = [&](float a, float b) {
    Tensor hidden = Tensor::zeros({2, width});
    std::fill_n(hidden.data<float>(), width, a);
    std::fill_n(hidden.data<float>() + width, width, b);
    StageInput input;
    input.payload = payload(ids, static_cast<int64_t>(prompt_.size()));
    input.payload.tensors["hidden"] = hidden;
    auto sequence = model_->start(input);
    EXPECT_TRUE(sequence.ok());
    std::vector<float> rows;
    model_->set_probe([&](std::string_view name, const Tensor& x) {
      if (name == "talker.hidden.0") rows.assign(x.data<float>(), x.data<float>() + 6 * x.cols());
    });
    ArRunner runner(*model_, *executor_, 1, 64);
    runner.put(0, std::move(*sequence));
    runner.step({{0, prompt_rows_}});
    model_->set_probe({});
    return rows;
  };
  const int64_t d = config_.talker.text.hidden_size;
  const std::vector<float> ab = inputs(0.5f, -0.5f), ba = inputs(-0.5f, 0.5f);
  const auto row = [&](const std::vector<float>& rows, int64_t i) {
    return std::vector<float>(rows.begin() + i * d, rows.begin() + (i + 1) * d);
  };
  EXPECT_EQ(row(ab, 3), row(ba, 4));
  EXPECT_EQ(row(ab, 4), row(ba, 3));
  EXPECT_NE(row(ab, 3), row(ab, 4));
  EXPECT_EQ(row(ab, 5), row(ba, 5));
}

TEST_F(TalkerTest, DecodingAllocatesNothing) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
  ArRunner runner(*model_, *executor_, 2, 128);
  for (int s = 0; s < 2; ++s) {
    auto& slot = runner.put(s, start(with_words({70, 71, 72}), true));
    static_cast<TalkerSequence&>(*slot.sequence).codes.reserve(1000);  // what grows with time
  }
  runner.step({{0, prompt_rows_}, {1, prompt_rows_}});
  int64_t begin = 0, during = 0;
  for (int i = 0; i < 8; ++i) {
    if (i == 2) {
      runner.around_model = [&](bool begins) {
        (begins ? begin : during) =
            begins ? testing::allocation_count() : during + testing::allocation_count() - begin;
      };
    }
    runner.step({{0, 1}, {1, 1}});
  }
  EXPECT_EQ(during, 0u);
}

TEST_F(TalkerTest, NeedsAnOpenAssistantPart) {
  StageInput input;
  input.payload = payload({1, 2, 3}, 3);
  EXPECT_THAT(model_->start(input).error().message(), HasSubstr("open assistant part"));
}

TEST_F(TalkerTest, SuppressesControlTokensButTheEnd) {
  const ArModelInfo& info = model_->info();
  EXPECT_EQ(info.suppressed_token_ids.size(), 1023u);
  EXPECT_EQ(info.suppressed_token_ids.front(), 64);
  EXPECT_THAT(info.eos_token_ids, ::testing::ElementsAre(166));
  EXPECT_THAT(info.suppressed_token_ids, ::testing::Not(::testing::Contains(166)));
  EXPECT_FALSE(info.prompt_has_token_ids);
}

}  // namespace
}  // namespace tutti::qwen3_omni_moe
