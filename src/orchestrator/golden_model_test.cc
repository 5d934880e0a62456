// The whole engine on the small Qwen3-Omni checkpoint: real stages, real threads. What the numbers
// must be is the parity checker's business; here it is that orchestration never changes them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tutti/async_omni_engine.h"
#include "tutti/omni.h"

#include "text/tokenizer.h"

namespace tutti {
namespace {

using testing::HasSubstr;

const std::string kModel = std::string(TUTTI_TEST_DATA) + "/goldens/qwen3_omni_moe/checkpoint";
constexpr int64_t kSamplesPerFrame = 1920;

struct Answer {
  std::vector<int32_t> token_ids;
  std::string text;
  std::vector<float> samples;
  FinishReason finish_reason = FinishReason::kNone;
  int terminals = 0;
};

bool same(const Answer& a, const Answer& b) {
  return a.token_ids == b.token_ids && a.text == b.text && a.samples == b.samples;
}

EngineOptions options(bool async_chunk) {
  EngineOptions options;
  options.dtype = "float32";
  options.async_chunk = async_chunk;
  options.num_threads = 2;
  options.max_num_seqs = 4;
  return options;
}

Prompt chat(const std::string& text) {
  return ChatPrompt{.messages = {{"user", {{text, {}}}, ""}},
                    .tools_json = "",
                    .template_kwargs_json = "",
                    .add_generation_prompt = true,
                    .use_audio_in_video = false};
}

class GoldenModelTest : public testing::Test {
 protected:
  void start(const EngineOptions& with) {
    auto engine = AsyncOmniEngine::create(kModel, with);
    ASSERT_TRUE(engine) << engine.error().to_string();
    engine_ = std::move(engine).value();
  }

  static AddRequest request(const std::string& id, const std::string& text, bool greedy,
                            int32_t max_tokens = 12) {
    AddRequest request;
    request.request_id = id;
    request.prompt = chat(text);
    SamplingParams thinker, talker;
    thinker.max_tokens = max_tokens;
    talker.max_tokens = 2 * max_tokens;
    thinker.ignore_eos = true;
    talker.top_k = 50;
    talker.repetition_penalty = 1.05f;
    if (greedy) thinker.temperature = talker.temperature = 0;
    thinker.seed = 11;
    talker.seed = 12;
    request.sampling_params_list = {thinker, talker, {}};
    return request;
  }
  void add(AddRequest request) {
    const Status status = engine_->add_request(std::move(request));
    ASSERT_TRUE(status.ok()) << status.to_string();
  }

  // Reads messages until `id` has ended.
  Answer read(const std::string& id,
              const std::function<void(const OutputMessage&)>& on_output = {}) {
    while (answers_[id].terminals == 0) {
      auto message = engine_->try_get_output(60);
      if (!message || !*message) {
        ADD_FAILURE() << "no terminal message for " << id;
        break;
      }
      if (const auto* error = std::get_if<ErrorMessage>(&**message)) {
        ADD_FAILURE() << error->error.to_string();
        ++answers_[error->request_id].terminals;
      } else if (auto* output = std::get_if<OutputMessage>(&**message)) {
        take(*output);
        if (on_output) on_output(*output);
      }
    }
    return answers_[id];
  }
  void take(const OutputMessage& message) {
    Answer& answer = answers_[message.request_id];
    const StageOutputDelta& delta = message.output;
    if (message.stage_id == 0) {
      answer.text += delta.text;
      answer.token_ids.insert(answer.token_ids.end(), delta.token_ids.begin(),
                              delta.token_ids.end());
    }
    answer.samples.insert(answer.samples.end(), delta.audio.samples.begin(),
                          delta.audio.samples.end());
    if (!message.finished) return;
    ++answer.terminals;
    answer.finish_reason = delta.finish_reason;
  }
  int64_t steps(int32_t stage) const { return engine_->stage_pools()[stage].replicas[0].steps; }

  std::unique_ptr<AsyncOmniEngine> engine_;
  std::map<std::string, Answer> answers_;
};

TEST_F(GoldenModelTest, TokensAndSamplesAreTheSameWithAsyncChunkOnAndOff) {
  for (const bool greedy : {true, false}) {
    Answer streamed, whole;
    for (Answer* answer : {&streamed, &whole}) {
      answers_.clear();
      start(options(answer == &streamed));
      add(request("a", "Which train crosses the old bridge?", greedy));
      *answer = read("a");
    }
    EXPECT_EQ(streamed.token_ids.size(), 12u);
    EXPECT_GT(streamed.samples.size(), static_cast<size_t>(kSamplesPerFrame));
    EXPECT_TRUE(same(streamed, whole)) << (greedy ? "greedy" : "sampled");
  }
}

TEST_F(GoldenModelTest, SpeechGoesOnAfterAnEarlyEndOfTheTextInBothModes) {
  Answer streamed, whole;
  for (Answer* answer : {&streamed, &whole}) {
    answers_.clear();
    start(options(answer == &streamed));
    add(request("long", "Good morning.", true));
    AddRequest early = request("early", "Good morning.", true);
    const std::vector<int32_t> ids = read("long").token_ids;
    early.sampling_params_list[0].stop_token_ids = {ids[2]};
    add(early);
    *answer = read("early");
    EXPECT_LE(answer->token_ids.size(), 3u);
  }
  EXPECT_FALSE(streamed.samples.empty());
  EXPECT_TRUE(same(streamed, whole));
}

// The talker gets what is shown: as of an answer that ends with the last token before the string,
// which itself is never said, since nothing follows it.
TEST_F(GoldenModelTest, AStopStringIsNotSpoken) {
  const auto tokenizer = text::Tokenizer::load(kModel);
  ASSERT_TRUE(tokenizer);
  for (const bool async_chunk : {true, false}) {
    answers_.clear();
    start(options(async_chunk));
    add(request("whole", "Good morning.", true, 24));
    const Answer whole = read("whole");
    const auto text_of = [&](size_t tokens) {
      return (*tokenizer)->decode(std::span(whole.token_ids).first(tokens), true);
    };
    // From the middle of the text, made of several tokens.
    size_t before = 8;
    while (!whole.text.starts_with(text_of(before)) || text_of(before + 1) == text_of(before)) {
      ++before;
    }
    size_t behind = before + 4;
    while (!whole.text.starts_with(text_of(behind))) ++behind;
    ASSERT_LT(behind, whole.token_ids.size());
    const size_t begin = text_of(before).size();
    const std::string stop = whole.text.substr(begin, text_of(behind).size() - begin);
    ASSERT_EQ(whole.text.find(stop), begin);

    AddRequest stopped = request("stopped", "Good morning.", true, 24);
    stopped.sampling_params_list[0].stop = {stop};
    add(stopped);
    AddRequest cut = request("cut", "Good morning.", true, 24);
    cut.sampling_params_list[0].max_tokens = static_cast<int32_t>(before) + 1;
    add(cut);
    const Answer& answer = read("stopped");
    EXPECT_EQ(answer.text, whole.text.substr(0, begin));
    EXPECT_EQ(answer.token_ids.size(), behind);
    EXPECT_FALSE(answer.samples.empty());
    EXPECT_EQ(answer.samples, read("cut").samples);
    EXPECT_NE(answer.samples, whole.samples);
  }
}

double process_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST_F(GoldenModelTest, AnIdleEngineUsesNoCpu) {
  start(options(true));
  add(request("a", "Good morning.", true));
  read("a");
  const double before = process_cpu_seconds();
  EXPECT_FALSE(engine_->try_get_output(1.0).value());
  EXPECT_LT(process_cpu_seconds() - before, 0.01) << "1 % of a core over a second";
}

TEST_F(GoldenModelTest, RequestsAtOnceGetWhatTheyGetAlone) {
  const std::vector<std::string> prompts = {"Which train crosses the old bridge?",
                                            "A",
                                            "Tell me about the weather in the valley today.",
                                            "Wie alt ist die Brücke?",
                                            "7",
                                            "Read the second page, then the third one.",
                                            "What is this?",
                                            "Good morning."};
  for (const bool async_chunk : {true, false}) {
    answers_.clear();
    start(options(async_chunk));
    std::vector<Answer> alone;
    for (size_t i = 0; i < prompts.size(); ++i) {
      const std::string id = "alone" + std::to_string(i);
      add(request(id, prompts[i], /*greedy=*/i % 2 == 0, 8 + static_cast<int32_t>(i)));
      alone.push_back(read(id));
    }
    for (size_t i = 0; i < prompts.size(); ++i) {
      add(request("r" + std::to_string(i), prompts[i], i % 2 == 0, 8 + static_cast<int32_t>(i)));
    }
    for (size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_TRUE(same(read("r" + std::to_string(i)), alone[i])) << prompts[i];
    }
  }
}

TEST_F(GoldenModelTest, TextAloneNeverTouchesTheTalker) {
  start(options(true));
  AddRequest text = request("a", "Good morning.", true);
  text.final_output_stage_ids = {0};
  add(text);
  const Answer answer = read("a");
  EXPECT_EQ(answer.token_ids.size(), 12u);
  EXPECT_TRUE(answer.samples.empty());
  EXPECT_GT(steps(0), 0);
  EXPECT_EQ(steps(1), 0);
  EXPECT_EQ(steps(2), 0);
  // Nor does asking for speech change the text.
  add(request("b", "Good morning.", true));
  EXPECT_EQ(read("b").token_ids, answer.token_ids);
  EXPECT_GT(steps(1), 0);
}

TEST_F(GoldenModelTest, AbortMidStreamEndsARequestAndNoOther) {
  start(options(true));
  add(request("reference", "Good morning.", true));
  const Answer reference = read("reference");
  // While the thinker writes, and while the others speak.
  for (const std::string& type : {"text", "audio"}) {
    answers_.clear();
    add(request("a", "Which train crosses the old bridge?", true, 400));
    add(request("b", "Good morning.", true));
    bool aborted = false;
    const Answer answer = read("a", [&](const OutputMessage& message) {
      if (aborted || message.request_id != "a" || message.output_type != type) return;
      aborted = true;
      EXPECT_TRUE(engine_->abort({"a"}).ok());
    });
    EXPECT_EQ(answer.finish_reason, FinishReason::kAbort);
    EXPECT_LT(answer.token_ids.size(), 400u);
    EXPECT_TRUE(same(read("b"), reference));
  }
  // A later message shows that nothing more came for the aborted ones.
  add(request("c", "Good morning.", true));
  EXPECT_TRUE(same(read("c"), reference));
  EXPECT_EQ(answers_["a"].terminals, 1);
}

TEST_F(GoldenModelTest, ShutdownEndsLiveRequests) {
  start(options(true));
  for (int i = 0; i < 6; ++i) {
    add(request("r" + std::to_string(i), "Which train crosses the bridge?", true, 400));
  }
  engine_->shutdown();
  EXPECT_FALSE(engine_->is_alive());
  for (auto message = engine_->try_get_output(1); message && *message;
       message = engine_->try_get_output(1)) {
    if (const auto* output = std::get_if<OutputMessage>(&**message)) take(*output);
  }
  for (int i = 0; i < 6; ++i) EXPECT_EQ(answers_["r" + std::to_string(i)].terminals, 1);
}

TEST_F(GoldenModelTest, WrongRequestsAreErrorsAtTheCall) {
  EngineOptions small = options(true);
  small.max_model_len = 40;
  start(small);
  AddRequest wrong = request("a", "Good morning.", true);
  wrong.voice = "Ana";
  EXPECT_THAT(engine_->add_request(wrong).message(), HasSubstr("Ethan"));
  wrong = request("a", std::string(500, 'x'), true);
  EXPECT_THAT(engine_->add_request(wrong).message(), HasSubstr("the context holds 40"));
  wrong.prompt = TokensPrompt{};
  EXPECT_THAT(engine_->add_request(wrong).message(), HasSubstr("empty"));
  add(request("a", "Hi.", true));
  EXPECT_EQ(read("a").terminals, 1);
}

TEST(GoldenModelCreate, WhatIsNoModelIsAnError) {
  const auto missing = AsyncOmniEngine::create("/no/such/model");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.error().message(), HasSubstr("'/no/such/model' is not a directory"));
  EXPECT_FALSE(AsyncOmniEngine::create(TUTTI_TEST_DATA));
  EngineOptions wrong;
  wrong.dtype = "float8";
  EXPECT_EQ(AsyncOmniEngine::create(kModel, wrong).error().param(), "dtype");
  wrong = {};
  wrong.max_num_seqs = 0;
  EXPECT_EQ(AsyncOmniEngine::create(kModel, wrong).error().param(), "max_num_seqs");
}

TEST(GoldenModelOmni, GeneratesTextAndSpeechAndStopsWhenTold) {
  auto omni = Omni::create(kModel, options(true));
  ASSERT_TRUE(omni) << omni.error().to_string();
  AddRequest request;
  request.prompt = chat("Which train crosses the old bridge?");
  request.sampling_params_list.resize(3);
  for (auto& params : request.sampling_params_list) {
    params.temperature = 0;
    params.max_tokens = 10;
    params.ignore_eos = true;
  }
  const auto result = (*omni)->generate(request);
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(result->token_ids.size(), 10u);
  EXPECT_EQ(result->finish_reason, FinishReason::kLength);
  EXPECT_EQ(result->audio.sample_rate, 24000);
  EXPECT_FALSE(result->audio.samples.empty());
  ASSERT_EQ(result->stage_metrics.size(), 3u);
  EXPECT_EQ(result->stage_metrics[0].output_tokens, 10);
  EXPECT_GT(result->stage_metrics[1].output_tokens, 0);
  request.sampling_params_list[0].max_tokens = 400;
  const auto stopped =
      (*omni)->generate(request, [](const OutputMessage& m) { return m.output_type != "text"; });
  ASSERT_TRUE(stopped) << stopped.error().to_string();
  EXPECT_EQ(stopped->finish_reason, FinishReason::kAbort);
  EXPECT_GE(stopped->token_ids.size(), 1u);
  EXPECT_LT(stopped->token_ids.size(), 400u);
  request.request_id = "";
  request.prompt = TextPrompt{""};
  EXPECT_FALSE((*omni)->generate(request));
}

}  // namespace
}  // namespace tutti
