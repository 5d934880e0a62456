// Adapters through the engines with the tiny checkpoint: what they give is what a checkpoint with
// merged weights gives, in any company, and nothing of one reaches another.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "engine/payload.h"
#include "engine/stage_engine.h"
#include "models/pipeline.h"
#include "tiny_prompts.h"
#include "weights/checkpoint.h"
#include "weights/convert.h"
#include "weights/lora_test_util.h"

namespace tutti {
namespace {

constexpr int32_t kThinker = 0;
constexpr int32_t kTalker = 1;
constexpr int64_t kRank = 4;
constexpr double kAlpha = 6;  // a scale of 1.5

struct Answer {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<StagePayload> chunks;
  int64_t cached_tokens = 0;

  Tensor codes() const { return join_payloads(chunks).tensors.at("codes"); }
};

// A PEFT adapter of every linear map of both stages, drawn from a seed.
struct Adapter {
  Adapter(const std::vector<LoraTarget>& maps, unsigned seed) {
    std::mt19937 random(seed);
    const auto draw = [&](Shape shape, double scale) {
      Tensor t = Tensor::empty(shape);
      std::normal_distribution<double> normal(0, scale);
      for (int64_t i = 0; i < t.num_elements(); ++i) {
        t.data<float>()[i] = static_cast<float>(normal(random));
      }
      return t;
    };
    for (const LoraTarget& map : maps) {
      const double in = static_cast<double>(map.in_features);
      testing::add_module(tensors, map.name, draw({kRank, map.in_features}, 1 / std::sqrt(in)),
                          draw({map.out_features, kRank}, 0.1));
    }
    testing::write_adapter(folder, testing::peft_config(kRank, kAlpha), tensors);
  }

  testing::NamedTensors tensors;
  testing::TempFolder folder;
};

// The checkpoint as one file of F32, with scale * B A added to the weights of the adapter.
void write_merged(const testing::TempFolder& folder, const Adapter& adapter) {
  std::map<std::string, const Tensor*> by_name;
  for (const auto& [name, tensor] : adapter.tensors) by_name[name] = &tensor;
  const auto checkpoint = Checkpoint::open(tiny::checkpoint()).value();
  testing::NamedTensors all;
  size_t merged = 0;
  for (const auto& [name, at] : checkpoint->tensors()) {
    Tensor t = Tensor::empty(at.entry->shape);
    const auto count = static_cast<size_t>(t.num_elements());
    convert_elements(at.file->bytes(*at.entry), at.entry->dtype, t.raw_data(), DType::kF32, count);
    const std::string module =
        "base_model.model." + name.substr(0, name.size() - std::string(".weight").size());
    if (const auto found = by_name.find(module + ".lora_A.weight"); found != by_name.end()) {
      const float* a = found->second->data<float>();
      const float* b = by_name.at(module + ".lora_B.weight")->data<float>();
      for (int64_t o = 0; o < t.dim(0); ++o) {
        for (int64_t i = 0; i < t.dim(1); ++i) {
          double sum = 0;
          for (int64_t r = 0; r < kRank; ++r) {
            sum += static_cast<double>(b[o * kRank + r]) * a[r * t.dim(1) + i];
          }
          float& w = t.data<float>()[o * t.dim(1) + i];
          w = static_cast<float>(w + kAlpha / kRank * sum);
        }
      }
      ++merged;
    }
    all.emplace_back(name, t);
  }
  EXPECT_EQ(2 * merged, adapter.tensors.size()) << "every map is a tensor of the checkpoint";
  folder.write("model.safetensors", testing::safetensors_bytes(all));
  for (const char* file : {"config.json", "generation_config.json", "tokenizer.json",
                           "tokenizer_config.json", "chat_template.json"}) {
    std::filesystem::copy_file(tiny::checkpoint() / file, folder.path() / file);
  }
}

class Adapters : public ::testing::Test {
 protected:
  // Opened once: writing and merging adapters takes most of the time.
  static void SetUpTestSuite() {
    pipeline_ = open(tiny::checkpoint());
    for (const int32_t stage : {kThinker, kTalker}) {
      const auto model = pipeline_->load_ar(stage, load_options(tiny::checkpoint())).value();
      const auto& own = model->lora_targets().maps;
      maps_.insert(maps_.end(), own.begin(), own.end());
    }
    one_ = new Adapter(maps_, 1);
    two_ = new Adapter(maps_, 2);
    merged_dir_ = new testing::TempFolder();
    write_merged(*merged_dir_, *one_);
    merged_ = open(merged_dir_->path());
  }
  static void TearDownTestSuite() {
    pipeline_.reset();
    merged_.reset();
    delete one_;
    delete two_;
    delete merged_dir_;
  }
  static LoadOptions load_options(const std::filesystem::path& dir) {
    LoadOptions load;
    load.model_dir = dir;
    load.auto_dtype = false;
    load.dtype = DType::kF32;
    return load;
  }
  static std::unique_ptr<Pipeline> open(const std::filesystem::path& dir) {
    auto opened = open_pipeline(load_options(dir));
    EXPECT_TRUE(opened.ok()) << opened.error().message();
    return std::move(opened).value();
  }

  std::unique_ptr<StageEngine> engine(const Pipeline& pipeline, int32_t stage) {
    const bool is_merged = &pipeline == merged_.get();
    auto model =
        pipeline.load_ar(stage, load_options(is_merged ? merged_dir_->path() : tiny::checkpoint()));
    EXPECT_TRUE(model.ok()) << model.error().message();
    StageEngineOptions options;
    options.block_size = 4;
    auto made = make_ar_engine(std::move(model).value(), nullptr, *executor_, options);
    if (!is_merged) {
      add(*made, "one", *one_);
      add(*made, "two", *two_);
    }
    return made;
  }
  static void add(StageEngine& to, const std::string& name, const Adapter& adapter) {
    const auto result = to.control("add_lora", R"({"lora_name":")" + name + R"(","lora_path":")" +
                                                   adapter.folder.path().string() + "\"}");
    ASSERT_TRUE(result.has_value());
    EXPECT_TRUE(result->ok()) << result->error().message();
  }

  static void begin(StageEngine& in, uint64_t key, const std::string& lora, StageInput input) {
    StageRequest request;
    request.key = RequestKey(key);
    request.request_id = std::to_string(key);
    request.input = std::move(input);
    request.sampling_params.temperature = 0;
    request.sampling_params.max_tokens = 12;
    request.sampling_params.ignore_eos = true;
    request.sampling_params.logprobs = 5;
    request.wants_payload = true;
    request.lora_name = lora;
    const Status status = in.admit(std::move(request));
    EXPECT_TRUE(status.ok()) << status.message();
  }
  static StageInput prompt() {
    return pipeline_
        ->process_prompt(
            TextPrompt{"<|im_start|>user\nWhich train crosses the old bridge?<|im_end|>\n"
                       "<|im_start|>assistant\n"})
        .value();
  }
  static std::map<uint64_t, Answer> finish(StageEngine& in) {
    std::map<uint64_t, Answer> answers;
    for (int i = 0; i < 1000 && in.has_runnable_work(); ++i) {
      std::vector<StageOutput> outputs;
      in.step(outputs);
      for (StageOutput& output : outputs) {
        EXPECT_TRUE(output.error.ok()) << output.error.message();
        Answer& answer = answers[output.key.value];
        for (const int32_t token : output.delta.token_ids) answer.tokens.push_back(token);
        for (const auto& token : output.delta.logprobs) {
          for (const TokenLogprob& entry : token) answer.logprobs.push_back(entry.logprob);
        }
        answer.cached_tokens = output.metrics.cached_tokens;
        if (!output.payload.empty()) answer.chunks.push_back(std::move(output.payload));
      }
    }
    return answers;
  }
  Answer run(StageEngine& in, const std::string& lora, StageInput input) {
    begin(in, 1, lora, std::move(input));
    return finish(in).at(1);
  }
  // The talker's input after the thinker's plain answer.
  StageInput spoken() {
    StageInput input;
    input.payload = join_payloads(run(*engine(*pipeline_, kThinker), "", prompt()).chunks);
    return input;
  }
  static void expect_close(const Answer& found, const Answer& expected) {
    EXPECT_EQ(found.tokens, expected.tokens);
    ASSERT_EQ(found.logprobs.size(), expected.logprobs.size());
    for (size_t i = 0; i < found.logprobs.size(); ++i) {
      EXPECT_NEAR(found.logprobs[i], expected.logprobs[i], 1e-5) << i;
    }
  }

  static inline std::unique_ptr<Pipeline> pipeline_, merged_;
  static inline std::vector<LoraTarget> maps_;
  static inline Adapter *one_ = nullptr, *two_ = nullptr;
  static inline testing::TempFolder* merged_dir_ = nullptr;
  std::unique_ptr<DeviceExecutor> executor_ = DeviceExecutor::create_cpu(2);
};

TEST_F(Adapters, ThinkerGivesWhatMergedWeightsGive) {
  const auto plain = engine(*pipeline_, kThinker), merged = engine(*merged_, kThinker);
  const Answer without = run(*plain, "", prompt());
  const Answer with = run(*plain, "one", prompt());
  EXPECT_NE(with.tokens, without.tokens);
  expect_close(with, run(*merged, "", prompt()));
}

TEST_F(Adapters, TalkerGivesWhatMergedWeightsGive) {
  const StageInput input = spoken();
  const auto plain = engine(*pipeline_, kTalker), merged = engine(*merged_, kTalker);
  const Answer without = run(*plain, "", input);
  const Answer with = run(*plain, "one", input);
  const Answer expected = run(*merged, "", input);
  EXPECT_NE(with.tokens, without.tokens);
  expect_close(with, expected);
  // The code predictor's groups too.
  const Tensor codes = with.codes(), expected_codes = expected.codes();
  ASSERT_EQ(codes.shape(), expected_codes.shape());
  EXPECT_EQ(std::memcmp(codes.raw_data(), expected_codes.raw_data(), codes.bytes()), 0);
}

TEST_F(Adapters, ARequestDependsOnItsOwnAdapterAlone) {
  const StageInput speech = spoken();
  const char* const loras[] = {"one", "", "two", "one", "two", ""};
  for (const int32_t stage : {kThinker, kTalker}) {
    const StageInput input = stage == kThinker ? prompt() : speech;
    std::map<std::string, Answer> alone;
    for (const std::string lora : {"", "one", "two"}) {
      alone[lora] = run(*engine(*pipeline_, stage), lora, input);
    }
    EXPECT_NE(alone["one"].tokens, alone["two"].tokens);
    const auto together = engine(*pipeline_, stage);
    for (uint64_t key = 0; key < std::size(loras); ++key) begin(*together, key, loras[key], input);
    for (const auto& [key, answer] : finish(*together)) {
      SCOPED_TRACE(std::string("adapter '") + loras[key] + "' in stage " + std::to_string(stage));
      EXPECT_EQ(answer.tokens, alone[loras[key]].tokens);
      EXPECT_EQ(answer.logprobs, alone[loras[key]].logprobs) << "bit by bit";
    }
  }
}

TEST_F(Adapters, PrefixesAreSharedWithinOneAdapterOnly) {
  const auto thinker = engine(*pipeline_, kThinker);
  const Answer first = run(*thinker, "one", prompt());
  EXPECT_EQ(first.cached_tokens, 0);
  EXPECT_EQ(run(*thinker, "", prompt()).cached_tokens, 0);
  EXPECT_EQ(run(*thinker, "two", prompt()).cached_tokens, 0);
  const Answer again = run(*thinker, "one", prompt());
  EXPECT_GT(again.cached_tokens, 0);
  EXPECT_EQ(again.tokens, first.tokens);
  EXPECT_EQ(again.logprobs, first.logprobs);

  // Other weights under the same name find nothing of the old ones.
  ASSERT_TRUE(thinker->control("remove_lora", R"({"lora_name":"one"})")->ok());
  const Adapter three(maps_, 3);
  add(*thinker, "one", three);
  const Answer other = run(*thinker, "one", prompt());
  EXPECT_EQ(other.cached_tokens, 0);
  EXPECT_NE(other.tokens, first.tokens);
}

TEST_F(Adapters, RemovingOneDoesNotDisturbItsRequests) {
  const Answer expected = run(*engine(*pipeline_, kThinker), "one", prompt());
  const auto thinker = engine(*pipeline_, kThinker);
  begin(*thinker, 1, "one", prompt());
  std::vector<StageOutput> outputs;
  thinker->step(outputs);
  ASSERT_EQ(outputs.size(), 1u);
  ASSERT_TRUE(thinker->control("remove_lora", R"({"lora_name":"one"})")->ok());
  Answer rest = finish(*thinker).at(1);
  rest.tokens.insert(rest.tokens.begin(), outputs[0].delta.token_ids.begin(),
                     outputs[0].delta.token_ids.end());
  EXPECT_EQ(rest.tokens, expected.tokens);

  StageRequest late;
  late.key = RequestKey(2);
  late.input = prompt();
  late.lora_name = "one";
  EXPECT_EQ(thinker->admit(std::move(late)).code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace tutti
