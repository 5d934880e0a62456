#include "models/qwen3_omni_moe/pipeline.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <fstream>

#include "base/json_file.h"
#include "models/qwen3_omni_moe/talker.h"
#include "models/qwen3_omni_moe/test_util.h"
#include "models/qwen3_omni_moe/thinker.h"
#include "text/tokenizer.h"
#include "weights/test_util.h"

namespace tutti::qwen3_omni_moe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PipelineTest : public CheckpointTest {
 protected:
  std::string open_error(const std::filesystem::path& dir) {
    LoadOptions options;
    options.model_dir = dir;
    const auto pipeline = open_pipeline(options);
    return pipeline.ok() ? "" : pipeline.error().message();
  }
  // A copy of the golden checkpoint's files that may be changed.
  void copy_checkpoint() {
    for (const auto& entry : std::filesystem::directory_iterator(golden_checkpoint())) {
      if (entry.is_regular_file()) {
        std::filesystem::copy_file(entry.path(), folder_.path() / entry.path().filename());
      }
    }
    options_.model_dir = folder_.path();
  }
  std::string load_error(int32_t stage) {
    const auto model = pipeline_->load_ar(stage, options_);
    return model.ok() ? "" : model.error().message();
  }

  testing::TempFolder folder_;
};

TEST_F(PipelineTest, HasThreeStages) {
  const auto& stages = pipeline_->stages();
  ASSERT_EQ(stages.size(), 3u);
  EXPECT_EQ(stages[0].model_stage, "thinker");
  EXPECT_EQ(stages[0].final_output_type, "text");
  EXPECT_TRUE(stages[0].has_text_output);
  EXPECT_FLOAT_EQ(stages[0].default_sampling_params.temperature, 0.7f);
  EXPECT_EQ(stages[1].model_stage, "talker");
  EXPECT_FALSE(stages[1].final_output);
  EXPECT_THAT(stages[1].sources, ElementsAre(0));
  EXPECT_FLOAT_EQ(stages[1].default_sampling_params.repetition_penalty, 1.05f);
  EXPECT_EQ(stages[2].type, StageType::kGeneration);
  EXPECT_EQ(stages[2].final_output_type, "audio");
  EXPECT_THAT(stages[2].sources, ElementsAre(1));
}

TEST_F(PipelineTest, ResolvesVoicesWhateverTheirCase) {
  EXPECT_THAT(pipeline_->voices(), ElementsAre("Ethan", "Aiden", "Chelsie"));
  EXPECT_EQ(*pipeline_->resolve_voice("ETHAN"), "ethan");
  EXPECT_EQ(*pipeline_->resolve_voice("Chelsie"), "chelsie");
  EXPECT_EQ(*pipeline_->resolve_voice(""), "ethan");
  const auto unknown = pipeline_->resolve_voice("Ana");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().message(), "`voice` is 'Ana'; this model has: Ethan, Aiden, Chelsie.");
  EXPECT_EQ(unknown.error().param(), "voice");
}

TEST_F(PipelineTest, ProcessesPrompts) {
  ChatPrompt chat;
  chat.messages = {{"user", {{"Hello", {}}}, ""}};
  const auto from_chat = pipeline_->process_prompt(chat);
  ASSERT_TRUE(from_chat.ok()) << from_chat.error().message();
  const auto from_text = pipeline_->process_prompt(
      TextPrompt{"<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"});
  ASSERT_TRUE(from_text.ok());
  EXPECT_EQ(from_chat->payload.token_ids, from_text->payload.token_ids);
  EXPECT_EQ(pipeline_->process_prompt(TokensPrompt{{1, 2}})->payload.token_ids,
            (std::vector<int32_t>{1, 2}));
}

TEST_F(PipelineTest, SegmentsOfAChatContinueAsTheTemplateDoes) {
  const auto ids = [&](const Prompt& prompt, const PromptOptions& options = {}) {
    return pipeline_->process_prompt(prompt, options).value().payload.token_ids;
  };
  ChatPrompt turns;
  turns.messages = {ChatMessage::text("user", "Hello"), ChatMessage::text("assistant", "Hi"),
                    ChatMessage::text("user", "Bye")};
  // What the model has seen when it has answered: its end token, and no newline yet.
  std::vector<int32_t> session = ids(ChatPrompt{.messages = {turns.messages[0]}});
  const std::vector<int32_t> answer = ids(TextPrompt{"Hi<|im_end|>"});
  session.insert(session.end(), answer.begin(), answer.end());
  const std::vector<int32_t> segment =
      ids(ChatPrompt{.messages = {turns.messages[2]}}, {.continues = true, .after_answer = true});
  session.insert(session.end(), segment.begin(), segment.end());
  EXPECT_EQ(session, ids(turns));
}

TEST_F(PipelineTest, AMessageInSegmentsIsOneMessage) {
  const auto text = [&](const ChatPrompt& prompt, const PromptOptions& options = {}) {
    return pipeline_->tokenizer()->decode(
        pipeline_->process_prompt(prompt, options).value().payload.token_ids);
  };
  const auto said = [](std::vector<std::string> parts) {
    ChatMessage message;
    message.role = "user";
    for (std::string& part : parts) message.content.push_back({std::move(part), std::nullopt});
    return message;
  };
  const ChatMessage system = ChatMessage::text("system", "Be brief.");
  const ChatPrompt first{.messages = {system, said({"One ", "two"})},
                         .continue_final_message = true};
  const ChatPrompt middle{.messages = {said({" three "})}, .continue_final_message = true};
  const ChatPrompt last{.messages = {said({"four"}), ChatMessage::text("assistant", "Five"),
                                     ChatMessage::text("user", "Six")}};
  const PromptOptions goes_on{.continues = true, .in_message = true};
  const ChatPrompt whole{.messages = {system, said({"One ", "two", " three ", "four"}),
                                      last.messages[1], last.messages[2]}};
  EXPECT_EQ(text(first) + text(middle, goes_on) + text(last, goes_on), text(whole));
  // Without segments an answer goes on with the open message.
  const ChatPrompt begun{
      .messages = {ChatMessage::text("user", "Hello"), ChatMessage::text("assistant", "Good ")},
      .continue_final_message = true};
  EXPECT_THAT(text(begun), ::testing::EndsWith("\nGood "));
  // This template writes an answer that comes last with an empty thought before it; an open message
  // behind it is enough for it to be written as in the middle.
  ChatMessage empty;
  empty.role = "user";
  const std::vector<ChatMessage> before = {ChatMessage::text("user", "Hello"),
                                           ChatMessage::text("assistant", "Hi")};
  ChatPrompt opened{.messages = {before[0], before[1], empty}, .continue_final_message = true};
  const ChatPrompt rest{.messages = {ChatMessage::text("user", "Bye")}};
  EXPECT_EQ(text(opened) + text(rest, goes_on),
            text(ChatPrompt{.messages = {before[0], before[1], rest.messages[0]}}));
  EXPECT_EQ(pipeline_->process_prompt(ChatPrompt{.messages = {}, .continue_final_message = true})
                .error()
                .param(),
            "messages");
}

TEST_F(PipelineTest, RefusesBadPrompts) {
  EXPECT_THAT(pipeline_->process_prompt(TokensPrompt{}).error().message(), HasSubstr("empty"));
  EXPECT_THAT(pipeline_->process_prompt(TextPrompt{}).error().message(), HasSubstr("empty"));
  EXPECT_THAT(pipeline_->process_prompt(ChatPrompt{}).error().message(), HasSubstr("`messages`"));
  ChatPrompt chat;
  chat.messages = {{"user", {{"", MediaItem{MediaKind::kAudio, "a.wav", nullptr}}}, ""}};
  EXPECT_THAT(pipeline_->process_prompt(chat).error().message(), HasSubstr("audio 1: "));
  chat.messages = {{"user", {{"Hi", {}}}, ""}};
  chat.tools_json = "{";
  EXPECT_THAT(pipeline_->process_prompt(chat).error().message(), HasSubstr("`tools`"));
}

TEST_F(PipelineTest, RefusesWhatIsNoModelDirectory) {
  EXPECT_THAT(open_error("/nowhere/model"), HasSubstr("'/nowhere/model' does not exist"));
  EXPECT_THAT(open_error(folder_.path()), HasSubstr("is not a model directory: it has no config"));
  EXPECT_THAT(open_error(folder_.write("file", "x")), HasSubstr("is not a directory"));
  folder_.write("config.json", "{");
  EXPECT_THAT(open_error(folder_.path()), HasSubstr("not valid JSON"));
  folder_.write("config.json", R"({"model_type":"gpt2"})");
  EXPECT_THAT(open_error(folder_.path()),
              HasSubstr("has `model_type` 'gpt2'; known are: qwen3_omni_moe."));
  folder_.write("config.json", "{}");
  EXPECT_THAT(open_error(folder_.path()), HasSubstr("has no `model_type`"));
}

TEST_F(PipelineTest, LoadErrorsNameFileAndTensor) {
  copy_checkpoint();
  EXPECT_EQ(load_error(0), "");
  const auto shard = folder_.path() / "model-00001-of-00005.safetensors";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) - 100);
  EXPECT_THAT(load_error(0), AllOf(HasSubstr("model-00001-of-00005.safetensors' is truncated"),
                                   HasSubstr("tensor '")));
  std::filesystem::remove(shard);
  EXPECT_THAT(load_error(0), HasSubstr("Cannot open"));
  options_.auto_dtype = false;
  options_.dtype = DType::kF16;
  EXPECT_THAT(load_error(0), HasSubstr("allowed are auto, float32 and bfloat16"));
}

TEST_F(PipelineTest, ConfigAndWeightsMustAgree) {
  copy_checkpoint();
  config_.thinker.text.num_hidden_layers = 5;
  std::ifstream in(golden_checkpoint() / "config.json");
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto replace = [&](const std::string& from, const std::string& to) {
    std::string out = text;
    for (size_t at = 0; (at = out.find(from, at)) != std::string::npos; at += to.size()) {
      out.replace(at, from.size(), to);
    }
    folder_.write("config.json", out);
    pipeline_ = std::move(*open_pipeline(options_));
  };
  replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 5");
  EXPECT_THAT(load_error(0),
              HasSubstr("layers.4.input_layernorm.weight' of shape [64] is missing"));
  replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 3");
  EXPECT_THAT(load_error(0), HasSubstr("tensors that config.json does not account for"));
  replace("\"vocab_size\": 1280", "\"vocab_size\": 1300");
  EXPECT_THAT(load_error(0), HasSubstr("has shape [1280, 64], expected [1300, 64]"));
}

TEST_F(PipelineTest, DummyWeightsNeedAConfigAlone) {
  LoadOptions options;
  options.model_dir = std::filesystem::path(TUTTI_SOURCE_DIR) / "bench/configs/tiny";
  options.dummy_weights = true;
  std::string last;
  options.on_progress = [&](double, const std::string& what) { last = what; };
  auto pipeline = open_pipeline(options);
  ASSERT_TRUE(pipeline.ok()) << pipeline.error().message();
  EXPECT_EQ((*pipeline)->tokenizer(), nullptr);
  EXPECT_THAT((*pipeline)->process_prompt(TextPrompt{"Hello"}).error().message(),
              HasSubstr("no tokenizer; only prompts of token ids are allowed"));
  auto thinker = (*pipeline)->load_ar(0, options);
  ASSERT_TRUE(thinker.ok()) << thinker.error().message();
  EXPECT_EQ((*thinker)->info().kv_dtype, DType::kBF16);
  EXPECT_THAT(last, HasSubstr("GB/s"));
  EXPECT_TRUE((*pipeline)->load_ar(1, options).ok());
  EXPECT_TRUE((*pipeline)->load_generation(2, options).ok());

  StageInput input;
  input.payload.token_ids = {1, 2, 3};
  testing::ArRunner runner(**thinker, *executor_, 1, 32);
  runner.put(0, std::move(*(*thinker)->start(input)));
  runner.step({{0, 3}});
  double sum = 0;
  for (float v : runner.slot(0).logits) sum += std::abs(v);
  EXPECT_GT(sum, 0);
  EXPECT_TRUE(std::isfinite(sum));
}

TEST_F(PipelineTest, BiasesAndDenseLayersAreLoadedWhereTheConfigSays) {
  const auto names = [&](const std::string& from, const std::string& to) {
    auto value = read_json_object(std::filesystem::path(TUTTI_SOURCE_DIR) /
                                  "bench/configs/tiny/config.json");
    std::string text = boost::json::serialize(*value);
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    folder_.write("config.json", text);
    const auto config = read_config(folder_.path());
    EXPECT_TRUE(config.ok()) << config.error().message();
    auto loader = make_dummy_loader(0, {});
    const Thinker::Weights weights = Thinker::load(*loader, config->thinker);
    EXPECT_TRUE(loader->finish().ok());
    const DecoderLayer& first = weights.stack.layers[0];
    return std::tuple(first.attention.q_proj.bias.defined(), first.attention.o_proj.bias.defined(),
                      std::holds_alternative<MoeBlock>(first.mlp),
                      std::holds_alternative<MoeBlock>(weights.stack.layers[1].mlp),
                      weights.lm_head.weight.raw_data() == weights.embed_tokens.raw_data());
  };
  EXPECT_EQ(names("\"tie_word_embeddings\":true", "\"tie_word_embeddings\":true"),
            std::tuple(false, false, true, false, true));
  EXPECT_EQ(names("\"tie_word_embeddings\":true", "\"tie_word_embeddings\":false"),
            std::tuple(false, false, true, false, false));
  EXPECT_EQ(names("\"attention_bias\":false", "\"attention_bias\":true"),
            std::tuple(true, true, true, false, true));
  EXPECT_EQ(names("\"decoder_sparse_step\":1", "\"decoder_sparse_step\":3"),
            std::tuple(false, false, false, false, true));
}

TEST_F(PipelineTest, ReplicasShareTheWeightsOfOneLoad) {
  const auto first = load(0), second = load(0);
  const auto& a = static_cast<const Thinker&>(*first).weights();
  const auto& b = static_cast<const Thinker&>(*second).weights();
  EXPECT_EQ(a.embed_tokens.raw_data(), b.embed_tokens.raw_data());
  EXPECT_EQ(a.lm_head.weight.raw_data(), b.lm_head.weight.raw_data());
  EXPECT_EQ(a.shared, b.shared);
  options_.auto_dtype = false;
  options_.dtype = DType::kBF16;
  const auto other = load(0);
  EXPECT_NE(static_cast<const Thinker&>(*other).weights().embed_tokens.raw_data(),
            a.embed_tokens.raw_data())
      << "another dtype is another load";
  const auto talker = load(1), twin = load(1);
  EXPECT_EQ(static_cast<const Talker&>(*talker).weights().codec_embedding.raw_data(),
            static_cast<const Talker&>(*twin).weights().codec_embedding.raw_data());
}

// Bytes of this process in memory.
int64_t resident_bytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST_F(PipelineTest, ASecondReplicaTakesNoMemoryForWeights) {
  LoadOptions options;
  options.model_dir = std::filesystem::path(TUTTI_SOURCE_DIR) / "models/nano";
  options.dummy_weights = true;
  options.auto_dtype = false;
  const auto pipeline = std::move(open_pipeline(options)).value();
  const int64_t before = resident_bytes();
  const auto first = std::move(pipeline->load_ar(0, options)).value();
  const int64_t one = resident_bytes();
  const auto second = std::move(pipeline->load_ar(0, options)).value();
  const int64_t two = resident_bytes();
  EXPECT_GT(one - before, int64_t{4} << 20);
  EXPECT_LT(two - one, (one - before) / 10);
  RecordProperty("first_replica_bytes", std::to_string(one - before));
  RecordProperty("second_replica_bytes", std::to_string(two - one));
}

TEST_F(PipelineTest, ThePlaceholdersOfRawPromptsAreCounted) {
  const MediaItem picture = MediaItem::file(
      MediaKind::kImage,
      (std::filesystem::path(TUTTI_TEST_DATA) / "goldens/media/photo_97x61.png").string());
  const auto image = static_cast<int32_t>(config_.thinker.image_token_id);
  const auto error_of = [&](Prompt prompt) {
    const auto input = pipeline_->process_prompt(prompt);
    if (input.ok()) return std::string();
    EXPECT_EQ(input.error().param(), "multi_modal_data");
    return input.error().message();
  };
  TokensPrompt tokens{{1, image, 2}, {picture}};
  const auto input = pipeline_->process_prompt(tokens);
  ASSERT_TRUE(input.ok()) << input.error().message();
  EXPECT_GT(input->payload.token_ids.size(), 3u) << "one for each row";
  tokens.multi_modal_data.push_back(picture);
  EXPECT_EQ(error_of(tokens), "image 2: The prompt has places for 1 image item; 2 were given.");
  EXPECT_EQ(error_of(TextPrompt{"no place", {picture}}),
            "image 1: The prompt has places for 0 image items; 1 was given.");
  tokens = {{1, image, image, 2}, {picture}};
  EXPECT_EQ(error_of(tokens), "The prompt has places for 2 image items; 1 was given.");
}

TEST_F(PipelineTest, SpeechNeedsTextOrIds) {
  const auto talker = load(1);
  StageInput input;
  input.payload.tensors["prompt_length"] = Tensor::from_vector(std::vector<int32_t>{1}, {1});
  input.payload.tensors["has_embeds"] = Tensor::zeros({1}, DType::kI32);
  input.payload.token_ids = {-1};
  EXPECT_EQ(talker->start(input).error().message(),
            "Speech needs a prompt of text or token ids; this one has rows of embeddings.");
}

}  // namespace
}  // namespace tutti::qwen3_omni_moe
