#include "weights/lora.h"

#include <gmock/gmock.h>

#include <limits>

#include "weights/lora_test_util.h"

namespace tutti {
namespace {

using testing::add_module;
using ::testing::HasSubstr;
using testing::NamedTensors;
using testing::peft_config;

Tensor filled(Shape shape, float first) {
  Tensor t = Tensor::empty(shape);
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    t.data<float>()[i] = first + static_cast<float>(i);
  }
  return t;
}

class Lora : public ::testing::Test {
 protected:
  Lora() {
    targets_.own_prefix = "thinker.";
    targets_.other_prefixes = {"talker."};
    targets_.default_prefix = "thinker.";
    targets_.add("thinker.model.layers.0.self_attn.q_proj", 6, 4);
    targets_.add("thinker.model.layers.0.mlp.experts.1.down_proj", 4, 8);
    add_module(tensors_, "thinker.model.layers.0.self_attn.q_proj", filled({2, 4}, 1),
               filled({6, 2}, 100));
  }
  Result<std::shared_ptr<const LoraAdapter>> read(const std::string& config,
                                                  const NamedTensors& tensors) {
    testing::write_adapter(folder_, config, tensors);
    return read_lora(folder_.path(), targets_, 8);
  }
  std::string error_of(const std::string& config, const NamedTensors& tensors) {
    const auto adapter = read(config, tensors);
    return adapter.ok() ? "" : adapter.error().message();
  }
  std::string error_of(const std::string& more_config) {
    return error_of(peft_config(2, 4, more_config), tensors_);
  }
  std::string error_of_tensors(const NamedTensors& tensors) {
    return error_of(peft_config(2, 4), tensors);
  }

  testing::TempFolder folder_;
  LoraTargets targets_;
  NamedTensors tensors_;
};

TEST_F(Lora, ReadsMatricesUnderTheirMaps) {
  const auto read_one = read(peft_config(2, 4), tensors_);
  ASSERT_TRUE(read_one.ok()) << read_one.error().message();
  const LoraAdapter& adapter = **read_one;
  ASSERT_EQ(adapter.maps.size(), 2u);
  EXPECT_FALSE(adapter.maps[1].a.defined());
  const LoraMatrices& q = adapter.maps[0];
  EXPECT_EQ(q.a.shape(), (Shape{2, 4}));
  EXPECT_EQ(q.b.shape(), (Shape{1, 2, 16}));
  EXPECT_EQ(q.out_features, 6);
  EXPECT_EQ(q.a.data<float>()[7], 8);
  EXPECT_EQ(q.b.data<float>()[16 + 5], 111);
  EXPECT_EQ(q.b.data<float>()[16 + 6], 0);
  EXPECT_EQ(q.scale, 2);
  EXPECT_EQ(adapter.rank, 2);
  EXPECT_EQ(adapter.bytes, (8u + 32u) * 4);
  EXPECT_NE(adapter.content_hash, 0u);
}

TEST_F(Lora, ScalesByAlphaRankAndPatterns) {
  add_module(tensors_, "thinker.model.layers.0.mlp.experts.1.down_proj", filled({4, 8}, 1),
             filled({4, 4}, 1));
  const std::string patterns =
      R"("rank_pattern":{"down_proj":4},"alpha_pattern":{"experts\\.\\d+\\.down_proj":6})";
  const auto plain = read(peft_config(2, 4, patterns), tensors_);
  ASSERT_TRUE(plain.ok()) << plain.error().message();
  EXPECT_EQ((*plain)->maps[0].scale, 2);
  EXPECT_EQ((*plain)->maps[1].scale, 1.5f);
  EXPECT_EQ((*plain)->rank, 4);
  const auto stabilised = read(peft_config(2, 4, patterns + R"(,"use_rslora":true)"), tensors_);
  ASSERT_TRUE(stabilised.ok()) << stabilised.error().message();
  EXPECT_FLOAT_EQ((*stabilised)->maps[0].scale, 4 / std::sqrt(2.0f));
  EXPECT_EQ((*stabilised)->maps[1].scale, 3);
}

TEST_F(Lora, ContentMakesTheHash) {
  const uint64_t hash = read(peft_config(2, 4), tensors_).value()->content_hash;
  EXPECT_EQ(read(peft_config(2, 4), tensors_).value()->content_hash, hash);
  EXPECT_NE(read(peft_config(2, 8), tensors_).value()->content_hash, hash);
  tensors_[1].second.data<float>()[3] += 1;
  EXPECT_NE(read(peft_config(2, 4), tensors_).value()->content_hash, hash);
}

TEST_F(Lora, NamesOfAPartAloneAndOfOtherStages) {
  NamedTensors tensors;
  add_module(tensors, "model.layers.0.self_attn.q_proj", filled({2, 4}, 1), filled({6, 2}, 1));
  add_module(tensors, "talker.model.layers.0.self_attn.q_proj", filled({2, 9}, 1),
             filled({9, 2}, 1));
  const auto both = read(peft_config(2, 4), tensors);
  ASSERT_TRUE(both.ok()) << both.error().message();
  EXPECT_TRUE((*both)->maps[0].a.defined());

  NamedTensors other(tensors.begin() + 2, tensors.end());
  const auto none = read(peft_config(2, 4), other);
  ASSERT_TRUE(none.ok()) << none.error().message();
  EXPECT_TRUE((*none)->empty());
  EXPECT_EQ((*none)->content_hash, 0u);
}

TEST_F(Lora, UntrainedModulesThatTakeNoneAreLeftOut) {
  const std::string tower = "thinker.audio_tower.layers.0.self_attn.q_proj";
  NamedTensors tensors = tensors_;
  add_module(tensors, tower, filled({2, 3}, 1), Tensor::zeros({3, 2}));
  EXPECT_EQ(error_of_tensors(tensors), "");
  tensors.back().second.data<float>()[0] = 1;
  EXPECT_THAT(error_of_tensors(tensors), HasSubstr("'" + tower + "', which takes no adapters"));
}

TEST_F(Lora, WrongTargetsNameTheNearest) {
  NamedTensors tensors;
  add_module(tensors, "thinker.model.layers.0.self_attn.qproj", filled({2, 4}, 1),
             filled({6, 2}, 1));
  EXPECT_THAT(error_of_tensors(tensors),
              HasSubstr("'thinker.model.layers.0.self_attn.qproj', which takes no adapters in this "
                        "model; the nearest that does is "
                        "'thinker.model.layers.0.self_attn.q_proj'."));
}

TEST_F(Lora, WrongMatricesSayWhatIsExpected) {
  const std::string q = "thinker.model.layers.0.self_attn.q_proj";
  const auto with = [&](const Tensor& a, const Tensor& b) {
    NamedTensors tensors;
    add_module(tensors, q, a, b);
    return error_of_tensors(tensors);
  };
  EXPECT_THAT(with(filled({2, 5}, 1), filled({6, 2}, 1)), HasSubstr("q_proj.lora_A.weight' in '"));
  EXPECT_THAT(with(filled({2, 5}, 1), filled({6, 2}, 1)),
              HasSubstr("has shape [2, 5], expected [2, 4]."));
  EXPECT_THAT(with(filled({2, 4}, 1), filled({7, 2}, 1)),
              HasSubstr("has shape [7, 2], expected [6, 2]."));
  EXPECT_THAT(with(filled({3, 4}, 1), filled({6, 3}, 1)),
              HasSubstr("has shape [3, 4], expected [2, 4]."));
  Tensor bad = filled({6, 2}, 1);
  bad.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(with(filled({2, 4}, 1), bad), HasSubstr("has the value nan at element 5"));
  NamedTensors half(tensors_.begin(), tensors_.begin() + 1);
  EXPECT_THAT(error_of_tensors(half), HasSubstr("q_proj.lora_B.weight' in '"));
  EXPECT_THAT(error_of_tensors(half), HasSubstr("is missing"));
  EXPECT_THAT(error_of_tensors({}), HasSubstr("has no tensors"));
  EXPECT_THAT(error_of_tensors({{"base_model.model.x.lora_magnitude_vector", filled({2}, 1)}}),
              HasSubstr("is no LoRA matrix of a linear module"));
}

TEST_F(Lora, RanksAboveTheLimit) {
  NamedTensors tensors;
  add_module(tensors, "thinker.model.layers.0.self_attn.q_proj", filled({16, 4}, 1),
             filled({6, 16}, 1));
  EXPECT_THAT(error_of(peft_config(16, 4), tensors),
              HasSubstr("has rank 16 in 'thinker.model.layers.0.self_attn.q_proj'; "
                        "`max_lora_rank` is 8."));
}

TEST_F(Lora, OtherKindsOfAdaptersAreRefused) {
  for (const char* more :
       {R"("use_dora":true)", R"("modules_to_save":["lm_head"])", R"("lora_bias":true)",
        R"("target_parameters":["mlp.experts.gate_up_proj"])", R"("init_lora_weights":"pissa")",
        R"("rank_pattern":{"q_proj":0})", R"("rank_pattern":[1])",
        R"("alpha_pattern":{"q_proj(":2})"}) {
    const std::string key(more + 1, std::string_view(more).find('"', 1) - 1);
    EXPECT_THAT(error_of(more), HasSubstr("`" + key + "` is ")) << more;
  }
  EXPECT_EQ(error_of(R"("modules_to_save":null,"init_lora_weights":true,"use_dora":false)"), "");
  const auto config_error = [&](const std::string& config) { return error_of(config, tensors_); };
  EXPECT_THAT(config_error(R"({"peft_type":"IA3"})"), HasSubstr("`peft_type` is \"IA3\""));
  EXPECT_THAT(config_error(R"({"peft_type":"LORA","bias":"all"})"), HasSubstr("`bias` is \"all\""));
  EXPECT_THAT(config_error(R"({"peft_type":"LORA","lora_alpha":1})"), HasSubstr("has no `r`"));
  EXPECT_THAT(config_error(R"({"peft_type":"LORA","r":0,"lora_alpha":1})"),
              HasSubstr("`r` is 0; it must be a positive number"));
  EXPECT_THAT(config_error("[]"), HasSubstr("is not a JSON object"));
}

TEST_F(Lora, DirectoriesThatAreNoAdapters) {
  const auto error = [&] { return read_lora(folder_.path(), targets_, 8).error().message(); };
  EXPECT_THAT(error(), HasSubstr("has no adapter_config.json"));
  folder_.write("adapter_config.json", peft_config(2, 4));
  EXPECT_THAT(error(), HasSubstr("has no adapter_model.safetensors"));
  folder_.write("adapter_model.bin", "x");
  EXPECT_THAT(error(), HasSubstr("only adapter_model.safetensors is allowed"));
  EXPECT_THAT(read_lora(folder_.path() / "none", targets_, 8).error().message(),
              HasSubstr("is not a directory"));
}

}  // namespace
}  // namespace tutti
