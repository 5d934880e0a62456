#include "models/qwen3_omni_moe/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/json_file.h"
#include "models/qwen3_omni_moe/generation_defaults.h"
#include "models/qwen3_omni_moe/test_util.h"
#include "weights/test_util.h"

namespace tutti::qwen3_omni_moe {
namespace {

namespace json = boost::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto value = read_json_object(golden_checkpoint() / "config.json");
    ASSERT_TRUE(value.ok());
    root_ = std::move(*value);
  }
  json::object& at(const char* a) { return root_.at(a).as_object(); }
  json::object& at(const char* a, const char* b) { return at(a).at(b).as_object(); }
  Result<Config> read() {
    folder_.write("config.json", json::serialize(root_));
    return read_config(folder_.path());
  }
  std::string error() {
    const auto config = read();
    return config.ok() ? "" : config.error().message();
  }

  testing::TempFolder folder_;
  json::value root_;
};

TEST_F(ConfigTest, ReadsBothSpellings) {
  const auto published = read();
  ASSERT_TRUE(published.ok()) << published.error().message();
  auto v5 = read_json_object(golden_checkpoint() / "config_v5.json");
  ASSERT_TRUE(v5.ok());
  root_ = *v5;
  const auto saved = read();
  ASSERT_TRUE(saved.ok()) << saved.error().message();
  for (const Config* c : {&*published, &*saved}) {
    EXPECT_EQ(c->thinker.text.num_experts, 8);
    EXPECT_EQ(c->talker.text.num_experts, 8);
    EXPECT_EQ(c->talker.text.shared_expert_intermediate_size, 40);
    EXPECT_THAT(c->thinker.text.rope.mrope_section, ElementsAre(6, 5, 5));
    EXPECT_EQ(c->thinker.text.rope.theta, 1e6);
    EXPECT_EQ(c->code2wav.transformer.rope.theta, 1e4);
    EXPECT_EQ(c->code2wav.transformer.head_dim, 8);
    EXPECT_EQ(c->code2wav.transformer.sliding_window, 12);
    EXPECT_EQ(c->code2wav.samples_per_frame(), 1920);
    EXPECT_FALSE(c->thinker.tie_word_embeddings);
    ASSERT_EQ(c->talker.speaker_id.size(), 3u);
    EXPECT_EQ(c->talker.speaker_id[2].first, "ethan");
  }
}

TEST_F(ConfigTest, ReadsThePublishedDimensions) {
  const auto c =
      read_config(std::filesystem::path(TUTTI_SOURCE_DIR) / "bench/configs/qwen3-omni-30b-a3b");
  ASSERT_TRUE(c.ok()) << c.error().message();
  EXPECT_EQ(c->thinker.text.num_hidden_layers, 48);
  EXPECT_EQ(c->talker.text.num_experts_per_tok, 6);
  EXPECT_EQ(c->talker.num_code_groups, 16);
  EXPECT_EQ(c->code2wav.samples_per_frame(), 1920);
}

TEST_F(ConfigTest, KnowsWhichLayersAreSparse) {
  DecoderConfig c;
  c.num_experts = 4;
  c.decoder_sparse_step = 2;
  c.mlp_only_layers = {3};
  EXPECT_FALSE(c.is_sparse(0));
  EXPECT_TRUE(c.is_sparse(1));
  EXPECT_FALSE(c.is_sparse(3));
  EXPECT_TRUE(c.is_sparse(5));
  c.num_experts = 0;
  EXPECT_FALSE(c.is_sparse(1));
}

TEST_F(ConfigTest, ErrorsNameTheKeyAndWhatIsAllowed) {
  at("thinker_config", "text_config").erase("hidden_size");
  EXPECT_THAT(error(), AllOf(HasSubstr("config.json': "),
                             HasSubstr("`thinker_config.text_config.hidden_size` is missing")));
  at("thinker_config", "text_config")["hidden_size"] = "64";
  EXPECT_THAT(error(), HasSubstr("`thinker_config.text_config.hidden_size` is \"64\", expected"));
  at("thinker_config", "text_config")["hidden_size"] = -3;
  EXPECT_THAT(error(), HasSubstr("is -3, expected an integer from 1 to 1048576"));
}

TEST_F(ConfigTest, RefusesWhatDoesNotFitTogether) {
  const json::value whole = root_;
  const auto with = [&](auto change) {
    root_ = whole;
    change();
    return error();
  };
  EXPECT_EQ(with([] {}), "");
  EXPECT_THAT(with([&] { at("thinker_config", "text_config")["num_key_value_heads"] = 3; }),
              HasSubstr("a divisor of num_attention_heads, which is 4"));
  EXPECT_THAT(with([&] { at("thinker_config", "text_config")["num_experts_per_tok"] = 9; }),
              HasSubstr("at most the number of experts, which is 8"));
  EXPECT_THAT(with([&] { at("talker_config")["thinker_hidden_size"] = 65; }),
              HasSubstr("the thinker's hidden_size, which is 64"));
  EXPECT_THAT(with([&] { at("talker_config")["codec_eos_token_id"] = 5000; }),
              HasSubstr("talker_config.codec_eos_token_id` is 5000"));
  EXPECT_THAT(with([&] { at("code2wav_config")["num_quantizers"] = 5; }),
              HasSubstr("the talker's num_code_groups, which is 4"));
  EXPECT_THAT(with([&] { at("code2wav_config")["upsample_rates"] = json::array{8, 0}; }),
              HasSubstr("upsample_rates"));
  EXPECT_THAT(with([&] { at("code2wav_config")["upsample_rates"] = json::array(65, 1); }),
              HasSubstr("upsample_rates"));
  EXPECT_THAT(with([&] { at("code2wav_config")["upsample_rates"] = json::array{1024, 1024}; }),
              HasSubstr("at most 24000 samples per frame"));
  EXPECT_THAT(with([&] { at("thinker_config", "text_config")["num_hidden_layers"] = 1e9; }),
              HasSubstr("an integer from 1 to 4096"));
  EXPECT_THAT(with([&] { at("talker_config")["speaker_id"] = json::object{}; }),
              HasSubstr("at least one voice"));
  EXPECT_THAT(with([&] {
                at("thinker_config", "text_config").at("rope_scaling").as_object()["rope_type"] =
                    "yarn";
              }),
              HasSubstr("rope_type` is \"yarn\", expected \"default\""));
  EXPECT_THAT(with([&] { at("thinker_config", "text_config")["hidden_act"] = "relu"; }),
              HasSubstr("hidden_act"));
}

TEST_F(ConfigTest, EveryTopLevelKeyOfAWrongTypeIsAnErrorOrIgnored) {
  const json::value whole = root_;
  for (const auto& [key, value] : whole.get_object()) {
    root_ = whole;
    root_.get_object()[key] = json::array{1, "x"};
    (void)error();  // must not crash
    root_.get_object()[key] = nullptr;
    (void)error();
  }
}

TEST_F(ConfigTest, ReadsTheEncoders) {
  const auto config = read();
  ASSERT_TRUE(config.ok()) << config.error().message();
  const ThinkerConfig& c = config->thinker;
  ASSERT_TRUE(c.audio && c.vision);
  EXPECT_EQ(c.audio->n_window_infer, 800);
  EXPECT_EQ(c.audio->downsample_hidden_size, 8);
  EXPECT_THAT(c.vision->deepstack_visual_indexes, ElementsAre(0, 2));
  EXPECT_EQ(c.vision->patch_elements(), 3 * 2 * 16 * 16);
  EXPECT_EQ(c.vision->rope_theta, 1e4);
  EXPECT_EQ(c.position_id_per_seconds, 13);
  at("thinker_config").erase("audio_config");
  at("thinker_config").erase("vision_config");
  const auto text = read();
  ASSERT_TRUE(text.ok()) << text.error().message();
  EXPECT_FALSE(text->thinker.audio || text->thinker.vision);
}

TEST_F(ConfigTest, RefusesEncodersThatDoNotFit) {
  const json::value good = root_;
  const auto error_with = [&](const char* part, const char* key, json::value value) {
    root_ = good;
    at("thinker_config", part)[key] = std::move(value);
    return error();
  };
  EXPECT_THAT(error_with("audio_config", "n_window_infer", 99), HasSubstr("n_window, which is 50"));
  EXPECT_THAT(error_with("audio_config", "encoder_attention_heads", 5), HasSubstr("d_model"));
  EXPECT_THAT(error_with("audio_config", "d_model", 2), HasSubstr("from 4 on"));
  EXPECT_THAT(error_with("audio_config", "output_dim", 63), HasSubstr("output_dim"));
  EXPECT_THAT(error_with("audio_config", "activation_function", "relu"), HasSubstr("\"gelu\""));
  EXPECT_THAT(error_with("vision_config", "num_heads", 3), HasSubstr("multiples of 4"));
  EXPECT_THAT(error_with("vision_config", "out_hidden_size", 1), HasSubstr("out_hidden_size"));
  EXPECT_THAT(error_with("vision_config", "deepstack_visual_indexes", json::array{2, 1}),
              HasSubstr("rising layer indexes"));
  EXPECT_THAT(error_with("vision_config", "deepstack_visual_indexes", json::array{4}),
              HasSubstr("below depth"));
  EXPECT_THAT(error_with("vision_config", "spatial_merge_size", 0),
              HasSubstr("spatial_merge_size"));
}

TEST_F(ConfigTest, AThinkerAloneNeedsNoTalker) {
  root_.get_object()["enable_audio_output"] = false;
  root_.get_object().erase("talker_config");
  root_.get_object().erase("code2wav_config");
  const auto c = read();
  ASSERT_TRUE(c.ok()) << c.error().message();
  EXPECT_FALSE(c->has_talker);
}

TEST_F(ConfigTest, ReadsGenerationDefaults) {
  const auto config = read();
  ASSERT_TRUE(config.ok());
  const auto d = read_generation_defaults(golden_checkpoint(), *config);
  ASSERT_TRUE(d.ok()) << d.error().message();
  EXPECT_THAT(d->eos_token_ids, ElementsAre(1202));
  EXPECT_FLOAT_EQ(d->thinker.temperature, 0.7f);
  EXPECT_EQ(d->thinker.top_k, 20);
  EXPECT_EQ(d->thinker.max_tokens, 1024);
  EXPECT_FLOAT_EQ(d->talker.temperature, 0.9f);
  EXPECT_FLOAT_EQ(d->talker.repetition_penalty, 1.05f);
  EXPECT_EQ(d->talker.top_k, 50);
  EXPECT_EQ(d->talker.max_tokens, 4096);

  // Without a file: the reference's own defaults.
  const auto none = read_generation_defaults(folder_.path(), *config);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->thinker.temperature, 0);
  EXPECT_THAT(none->eos_token_ids, ElementsAre(1202));

  folder_.write("generation_config.json",
                R"({"eos_token_id":[3,4],"do_sample":false,"talker_do_sample":false})");
  const auto greedy = read_generation_defaults(folder_.path(), *config);
  ASSERT_TRUE(greedy.ok());
  EXPECT_THAT(greedy->eos_token_ids, ElementsAre(3, 4));
  EXPECT_EQ(greedy->thinker.temperature, 0);
  EXPECT_EQ(greedy->talker.temperature, 0);

  folder_.write("generation_config.json", R"({"top_p":7})");
  EXPECT_THAT(read_generation_defaults(folder_.path(), *config).error().message(),
              HasSubstr("top_p"));
  EXPECT_EQ(greedy->fade_in_s, 0);
  folder_.write("generation_config.json", R"({"code2wav_fade_in_ms":2.5})");
  EXPECT_DOUBLE_EQ(read_generation_defaults(folder_.path(), *config)->fade_in_s, 0.0025);
  for (const char* wrong : {"-1", "101", "\"5\""}) {
    folder_.write("generation_config.json", "{\"code2wav_fade_in_ms\":" + std::string(wrong) + "}");
    EXPECT_THAT(read_generation_defaults(folder_.path(), *config).error().message(),
                HasSubstr("code2wav_fade_in_ms"));
  }
  folder_.write("generation_config.json", R"({"eos_token_id":99999})");
  EXPECT_THAT(read_generation_defaults(folder_.path(), *config).error().message(),
              HasSubstr("eos_token_id"));
}

}  // namespace
}  // namespace tutti::qwen3_omni_moe
