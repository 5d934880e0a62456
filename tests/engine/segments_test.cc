// Streaming sessions with the tiny Qwen3-Omni checkpoint: segments of text, picture and sound give
// the tokens, payload and logits of one prompt that holds them all.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/payload.h"
#include "engine/stage_engine.h"
#include "models/pipeline.h"
#include "tiny_prompts.h"

namespace tutti {
namespace {

struct Answer {
  std::vector<int32_t> tokens;
  std::vector<StagePayload> chunks;
  std::vector<float> hidden;  // the last layer's row of the last prompt position
  bool finished = false;
};

class SegmentsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    load_.model_dir = tiny::checkpoint();
    auto opened = open_pipeline(load_);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    pipeline_ = std::move(opened).value();
  }

  std::unique_ptr<StageEngine> thinker(bool cached) {
    StageEngineOptions options;
    options.enable_prefix_caching = cached;
    auto model = std::move(pipeline_->load_ar(0, load_)).value();
    const auto last = "hidden." + std::to_string(model->info().num_layers);
    model->set_probe([this, last](std::string_view name, const Tensor& rows) {
      if (name.starts_with("audio.") || name.starts_with("image.")) ++encoder_calls_;
      if (name == "position_ids") rows_computed_ += rows.cols();
      if (name != last) return;
      const Tensor row = rows.slice(rows.dim(0) - 1, rows.dim(0));
      hidden_.assign(row.data<float>(), row.data<float>() + row.num_elements());
    });
    return make_ar_engine(std::move(model), nullptr, *executor_, options);
  }

  StageInput chat(std::vector<ContentPart> parts) const {
    return tiny::chat(*pipeline_, std::move(parts));
  }
  std::vector<StageInput> segments() const {
    std::vector<StageInput> out;
    out.push_back(
        chat({{"Look at this.", std::nullopt}, tiny::media(MediaKind::kImage, kPicture)}));
    out.push_back(chat({tiny::media(MediaKind::kAudio, kSound), {"What was that?", std::nullopt}}));
    out.push_back(
        chat({tiny::media(MediaKind::kImage, kPicture), {"The same again?", std::nullopt}}));
    return out;
  }
  // Segments [0, count) and the answers between them as one input.
  static StageInput join(const std::vector<StageInput>& segments,
                         const std::vector<Answer>& answers, size_t count) {
    StageInput whole = segments[0];
    for (size_t i = 1; i < count; ++i) {
      auto& ids = whole.payload.token_ids;
      ids.insert(ids.end(), answers[i - 1].tokens.begin(), answers[i - 1].tokens.end());
      const StagePayload& more = segments[i].payload;
      ids.insert(ids.end(), more.token_ids.begin(), more.token_ids.end());
      auto& tensors = whole.payload.tensors;
      const int64_t items = tensors.at("media.shapes").rows();
      for (const auto& [name, tensor] : more.tensors) {
        constexpr std::string_view kFeatures = "media.features.";
        if (name.starts_with(kFeatures)) {
          const int64_t n = std::stoll(name.substr(kFeatures.size()));
          tensors[std::string(kFeatures) + std::to_string(items + n)] = tensor;
        } else if (name != "media.options") {
          tensors[name] =
              join_payloads({{{}, {{"x", tensors[name]}}}, {{}, {{"x", tensor}}}}).tensors.at("x");
        }
      }
    }
    return whole;
  }

  static SamplingParams params(int32_t tokens) {
    SamplingParams params;
    params.temperature = 0.8f;
    params.max_tokens = tokens;
    params.ignore_eos = true;
    return params;
  }
  StageRequest request(uint64_t key, StageInput input, int32_t tokens, bool resumable) const {
    StageRequest request;
    request.key = RequestKey(key);
    request.input = std::move(input);
    request.input.resumable = resumable;
    request.sampling_params = params(tokens);
    request.seed = 7;
    request.wants_payload = true;
    return request;
  }
  Answer run(StageEngine& engine) {
    Answer answer;
    while (engine.has_runnable_work()) {
      std::vector<StageOutput> outputs;
      engine.step(outputs);
      for (StageOutput& output : outputs) {
        EXPECT_TRUE(output.error.ok()) << output.error.message();
        if (answer.tokens.empty()) answer.hidden = hidden_;
        answer.tokens.insert(answer.tokens.end(), output.delta.token_ids.begin(),
                             output.delta.token_ids.end());
        if (!output.payload.empty()) answer.chunks.push_back(std::move(output.payload));
        answer.finished |= output.finished;
      }
    }
    return answer;
  }
  Answer as_one(StageInput input, int32_t tokens, bool cached) {
    auto engine = thinker(cached);
    EXPECT_TRUE(engine->admit(request(1, std::move(input), tokens, false)).ok());
    return run(*engine);
  }
  static void expect_equal(Answer& a, Answer& b) {
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.hidden, b.hidden);
    const StagePayload x = join_payloads(std::move(a.chunks));
    const StagePayload y = join_payloads(std::move(b.chunks));
    EXPECT_EQ(x.token_ids, y.token_ids);
    ASSERT_EQ(x.tensors.size(), y.tensors.size());
    for (const auto& [name, tensor] : x.tensors) {
      const Tensor& other = y.tensors.at(name);
      ASSERT_EQ(tensor.shape(), other.shape()) << name;
      EXPECT_EQ(std::memcmp(tensor.raw_data(), other.raw_data(), tensor.bytes()), 0) << name;
    }
  }

  static constexpr const char* kPicture = "photo_97x61.png";
  static constexpr const char* kSound = "speech_short_16k.wav";
  LoadOptions load_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<DeviceExecutor> executor_ = DeviceExecutor::create_cpu(2);
  int encoder_calls_ = 0;
  int64_t rows_computed_ = 0;
  std::vector<float> hidden_;
};

TEST_F(SegmentsTest, AnswerBitForBitLikeOnePrompt) {
  for (const bool cached : {false, true}) {
    const std::vector<StageInput> inputs = segments();
    auto engine = thinker(cached);
    ASSERT_TRUE(engine->admit(request(0, inputs[0], 5, true)).ok());
    std::vector<Answer> answers = {run(*engine)};
    for (size_t i = 1; i < inputs.size(); ++i) {
      StageSegment segment;
      segment.key = RequestKey(0);
      segment.input = inputs[i];
      segment.input.resumable = i + 1 < inputs.size();
      segment.sampling_params = params(5);
      segment.seed = 7;
      segment.segment = static_cast<int32_t>(i);
      const int64_t before = rows_computed_;
      ASSERT_TRUE(engine->extend(std::move(segment)).ok());
      answers.push_back(run(*engine));
      EXPECT_EQ(answers.back().finished, i + 1 == inputs.size());
      // The last token of the answer before, the segment, and four tokens of this answer.
      EXPECT_EQ(rows_computed_ - before, 1 + std::ssize(inputs[i].payload.token_ids) + 4);
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      Answer one = as_one(join(inputs, answers, i + 1), 5, false);
      Answer answer = answers[i];
      expect_equal(answer, one);
    }
  }
}

// An engine that only takes input in, segment by segment, and answers once.
TEST_F(SegmentsTest, TakenInWithoutAnswersEqualOnePrompt) {
  const std::vector<StageInput> inputs = segments();
  auto engine = thinker(true);
  ASSERT_TRUE(engine->admit(request(0, inputs[0], 0, true)).ok());
  std::vector<Answer> answers = {run(*engine)};
  for (size_t i = 1; i < inputs.size(); ++i) {
    StageSegment segment;
    segment.key = RequestKey(0);
    segment.input = inputs[i];
    segment.input.resumable = i + 1 < inputs.size();
    segment.sampling_params = params(i + 1 < inputs.size() ? 0 : 6);
    segment.seed = 7;
    segment.segment = static_cast<int32_t>(i);
    ASSERT_TRUE(engine->extend(std::move(segment)).ok());
    EXPECT_TRUE(answers.back().tokens.empty());
    EXPECT_TRUE(answers.back().chunks.empty());
    answers.push_back(run(*engine));
  }
  Answer one = as_one(join(inputs, answers, inputs.size()), 6, false);
  expect_equal(answers.back(), one);
}

TEST_F(SegmentsTest, RowsOfTheEmbeddingTableEqualTheirIds) {
  auto input = pipeline_->process_prompt(TextPrompt{"Which train crosses the old bridge?"});
  ASSERT_TRUE(input.ok());
  const std::vector<int32_t>& ids = input->payload.token_ids;
  // The table's rows, seen where the model looks them up.
  std::vector<float> rows;
  auto model = std::move(pipeline_->load_ar(0, load_)).value();
  model->set_probe([&](std::string_view name, const Tensor& x) {
    if (name == "hidden.0" && rows.empty())
      rows.assign(x.data<float>(), x.data<float>() + x.num_elements());
  });
  StageEngineOptions options;
  auto engine = make_ar_engine(std::move(model), nullptr, *executor_, options);
  ASSERT_TRUE(engine->admit(request(0, *input, 8, false)).ok());
  const Answer by_ids = run(*engine);
  EmbedsPrompt prompt;
  prompt.hidden_size = std::ssize(rows) / std::ssize(ids);
  prompt.values = rows;
  auto embedded = pipeline_->process_prompt(prompt);
  ASSERT_TRUE(embedded.ok()) << embedded.error().message();
  for (int repeat = 0; repeat < 2; ++repeat) {  // the second one behind its known prefix
    ASSERT_TRUE(engine->admit(request(1, *embedded, 8, false)).ok());
    EXPECT_EQ(run(*engine).tokens, by_ids.tokens);
  }
  prompt.hidden_size += 1;
  prompt.values.resize(static_cast<size_t>(prompt.hidden_size));
  EXPECT_EQ(pipeline_->process_prompt(prompt).error().param(), "prompt");
}

}  // namespace
}  // namespace tutti
