#include "models/qwen3_omni_moe/thinker.h"

#include <gmock/gmock.h>

#include "base/testing/counting_allocator.h"
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

TEST_F(ThinkerTest, HashesMediaAndPositionsThatTheyMove) {
  const auto start_with = [&](const char* file) {
    const auto path = std::filesystem::path(TUTTI_TEST_DATA) / "goldens/media" / file;
    ChatPrompt prompt;
    prompt.messages.push_back(
        {"user",
         {{"", MediaItem::file(MediaKind::kImage, path.string())}, {"What is it?", {}}},
         ""});
    auto input = pipeline_->process_prompt(prompt);
    EXPECT_TRUE(input.ok()) << input.error().message();
    return std::move(model_->start(*input)).value();
  };
  const auto one = start_with("photo_97x61.png");
  const auto other = start_with("icon_64x200.png");
  const auto& sequence = static_cast<const ThinkerSequence&>(*one);
  const int64_t first =
      std::ranges::find(sequence.prompt, config_.thinker.image_token_id) - sequence.prompt.begin();
  const auto length = static_cast<int64_t>(sequence.prompt.size());
  const MediaHash none;
  // Text in front is the same as without media; text behind stands at other positions.
  EXPECT_EQ(model_->content_hash(*one, 0, first), none);
  EXPECT_NE(model_->content_hash(*one, first, first + 1), none);
  EXPECT_NE(model_->content_hash(*one, length - 1, length), none);
  EXPECT_NE(model_->content_hash(*one, length + 5, length + 6), none);
  EXPECT_NE(model_->content_hash(*one, first, first + 2),
            model_->content_hash(*other, first, first + 2));
  EXPECT_EQ(model_->content_hash(*start(prompt_), 0, 10), none);
}

TEST_F(ThinkerTest, DecodingAllocatesNothing) {
  if (!testing::counts_allocations()) GTEST_SKIP() << "a sanitizer owns the allocator";
  ArRunner runner(*model_, *executor_, 2, 64);
  runner.put(0, start(prompt_));
  runner.put(1, start({1, 2, 3}));
  runner.step({{0, 10}, {1, 3}});
  int64_t begin = 0, during = 0;
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

// A prompt with a picture, a sound and another picture, and what its encoders were called for.
class ThinkerMediaTest : public ThinkerTest {
 protected:
  void SetUp() override {
    ThinkerTest::SetUp();
    model_->set_probe([this](std::string_view name, const Tensor& x) {
      if (name == "image.embeds" || name == "audio.embeds") ++encoder_runs_;
    });
    input_ = chat({{MediaKind::kImage, "photo_97x61.png"},
                   {MediaKind::kAudio, "speech_short_16k.wav"},
                   {MediaKind::kImage, "icon_64x200.png"}});
    length_ = static_cast<int64_t>(input_.payload.token_ids.size());
  }
  StageInput chat(const std::vector<MediaItem>& items) {
    ChatPrompt prompt;
    ChatMessage& message = prompt.messages.emplace_back();
    message.role = "user";
    for (const MediaItem& item : items) {
      const std::string path = std::string(TUTTI_TEST_DATA) + "/goldens/media/" + item.path_or_url;
      message.content.push_back({"", MediaItem::file(item.kind, path)});
    }
    message.content.push_back({"What is it?", {}});
    auto input = pipeline_->process_prompt(prompt);
    EXPECT_TRUE(input.ok()) << input.error().message();
    return std::move(*input);
  }
  std::unique_ptr<ArSequence> start(const StageInput& input) {
    auto sequence = model_->start(input);
    EXPECT_TRUE(sequence.ok()) << sequence.error().message();
    return std::move(*sequence);
  }
  // A step of an engine, which takes the payloads at once.
  void step(ArRunner& runner, const std::vector<ArRunner::Part>& parts) {
    runner.step(parts);
    for (const ArRunner::Part& part : parts) {
      model_->take_payload(*runner.slot(part.slot).sequence);
    }
  }
  // Logits of the input alone, in one step.
  std::vector<float> alone(const StageInput& input) {
    ArRunner runner(*model_, *executor_, 1, 256);
    runner.put(0, start(input));
    runner.step({{0, static_cast<int64_t>(input.payload.token_ids.size())}});
    return runner.slot(0).logits;
  }

  StageInput input_;
  int64_t length_ = 0;
  int encoder_runs_ = 0;
};

TEST_F(ThinkerMediaTest, LogitsDoNotDependOnChunksNeighboursOrCache) {
  const std::vector<float> expected = alone(input_);
  EXPECT_EQ(encoder_runs_, 2);  // both pictures at once, and the sound
  const StageInput other = chat({{MediaKind::kImage, "photo_211x130.jpg"}});
  const auto other_length = static_cast<int64_t>(other.payload.token_ids.size());
  for (const bool cached : {true, false}) {
    if (!cached) model_->reset_mm_cache();
    ArRunner batch(*model_, *executor_, 3, 256);
    batch.put(0, start(other));
    batch.put(1, start(input_));
    batch.put(2, ThinkerTest::start({1, 2, 3}));
    step(batch, {{2, 3}, {1, 7, false}, {0, other_length}});
    for (int64_t done = 7; done + 9 < length_; done += 9) step(batch, {{1, 9, false}, {0, 1}});
    step(batch, {{0, 1}, {1, (length_ - 7) % 9 == 0 ? 9 : (length_ - 7) % 9}});
    EXPECT_EQ(batch.slot(1).logits, expected) << "cached: " << cached;
    // A preempted sequence has its rows still.
    model_->reset_mm_cache();
    const int before = encoder_runs_;
    batch.preempt(1);
    batch.slot(1).generated.clear();
    step(batch, {{1, length_}});
    EXPECT_EQ(batch.slot(1).logits, expected);
    EXPECT_EQ(encoder_runs_, before);
  }
}

TEST_F(ThinkerMediaTest, EncodesWhatAStepNeedsAndOnce) {
  ArRunner runner(*model_, *executor_, 2, 256);
  runner.put(0, start(input_));
  step(runner, {{0, 3, false}});
  EXPECT_EQ(encoder_runs_, 0) << "the first positions are text";
  step(runner, {{0, 3, false}});
  EXPECT_EQ(encoder_runs_, 1) << "the first picture alone";
  step(runner, {{0, length_ - 6}});
  EXPECT_EQ(encoder_runs_, 3);
  alone(input_);
  EXPECT_EQ(encoder_runs_, 3) << "the second question pays no encoder";
  model_->reset_mm_cache();
  runner.put(0, start(input_));
  runner.put(1, start(input_));
  step(runner, {{0, length_}, {1, length_}});
  EXPECT_EQ(encoder_runs_, 5) << "equal items of one step are encoded once";
  EXPECT_EQ(runner.slot(0).logits, runner.slot(1).logits);
}

TEST_F(ThinkerMediaTest, RefusesItemsThatDoNotFitThePrompt) {
  const auto error = [&](const StageInput& input) {
    const auto sequence = model_->start(input);
    return sequence.ok() ? "" : sequence.error().message();
  };
  StageInput changed = input_;
  std::erase(changed.payload.token_ids, static_cast<int32_t>(config_.thinker.image_token_id));
  EXPECT_EQ(error(changed), "The prompt has 0 image placeholders; its items need 18.");
  changed = input_;
  changed.payload.tensors["media.features.1"] = Tensor::zeros({3, 4});
  EXPECT_THAT(error(changed), HasSubstr("do not fit together"));
  changed.payload.tensors.erase("media.features.1");
  EXPECT_THAT(error(changed), HasSubstr("no features"));
  changed.payload.tensors.erase("media.seconds");
  EXPECT_THAT(error(changed), HasSubstr("do not fit together"));
}

}  // namespace
}  // namespace tutti::qwen3_omni_moe
