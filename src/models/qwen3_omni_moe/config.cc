#include "models/qwen3_omni_moe/config.h"

#include <algorithm>
#include <functional>

#include "base/json_file.h"
#include "models/config_reader.h"

namespace tutti::qwen3_omni_moe {

bool DecoderConfig::is_sparse(int64_t layer) const {
  return num_experts > 0 && (layer + 1) % decoder_sparse_step == 0 &&
         std::ranges::find(mlp_only_layers, layer) == mlp_only_layers.end();
}

int64_t Code2WavConfig::samples_per_frame() const {
  int64_t product = 1;
  for (int64_t rate : upsample_rates) product *= rate;
  for (int64_t ratio : upsampling_ratios) product *= ratio;
  return product;
}

namespace {

// Bounds that keep a broken config from asking for absurd amounts of work; far above real models.
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxExperts = 65536;
constexpr int64_t kMaxHeads = 65536;
constexpr int64_t kMaxCodeGroups = 1024;
constexpr int64_t kMaxRate = 1024;
constexpr size_t kMaxUpsamplings = 8;

RopeConfig read_rope(const ConfigReader& reader, double default_theta, bool mrope) {
  RopeConfig rope;
  const bool v5 = reader.has("rope_parameters");
  const char* key = v5 ? "rope_parameters" : "rope_scaling";
  rope.theta = reader.number("rope_theta", default_theta);
  if (reader.has(key)) {
    const ConfigReader scaling = reader.object(key);
    if (v5) rope.theta = scaling.number("rope_theta", rope.theta);
    const std::string type = scaling.string("rope_type", scaling.string("type", "default"));
    if (type != "default" && type != "mrope") {
      scaling.fail(scaling.has("rope_type") ? "rope_type" : "type", "\"default\"");
    }
    if (mrope) rope.mrope_section = scaling.integers("mrope_section");
    const bool three = rope.mrope_section.size() == 3;
    if (mrope && !rope.mrope_section.empty() && !three) {
      scaling.fail("mrope_section", "three integers");
    }
  }
  // Qwen3-VL's default for a head dimension of 128.
  if (mrope && rope.mrope_section.size() != 3) rope.mrope_section = {24, 20, 20};
  if (rope.theta <= 0) reader.fail("rope_theta", "a positive number");
  return rope;
}

DecoderConfig read_decoder(const ConfigReader& reader, double default_theta, bool mrope) {
  DecoderConfig c;
  c.hidden_size = reader.positive("hidden_size", {}, kMaxWidth);
  c.num_hidden_layers = reader.positive("num_hidden_layers", {}, kMaxLayers);
  c.num_attention_heads = reader.positive("num_attention_heads", {}, kMaxHeads);
  c.num_key_value_heads = reader.positive("num_key_value_heads", c.num_attention_heads);
  const int64_t even_share = std::max<int64_t>(1, c.hidden_size / c.num_attention_heads);
  c.head_dim = reader.positive("head_dim", even_share, kMaxWidth);
  c.max_position_embeddings = reader.positive("max_position_embeddings", 32768);
  c.rms_norm_eps = static_cast<float>(reader.number("rms_norm_eps", 1e-6));
  c.attention_bias = reader.boolean("attention_bias", false);
  c.rope = read_rope(reader, default_theta, mrope);
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    reader.fail("num_key_value_heads", "a divisor of num_attention_heads, which is " +
                                           std::to_string(c.num_attention_heads));
  }
  if (c.head_dim % 2 != 0) reader.fail("head_dim", "an even number");
  if (reader.string("hidden_act", "silu") != "silu") reader.fail("hidden_act", "\"silu\"");
  return c;
}

void read_experts(const ConfigReader& reader, bool default_norm_topk_prob, DecoderConfig& c) {
  // transformers 5 writes num_local_experts.
  const char* key = reader.has("num_experts") ? "num_experts" : "num_local_experts";
  c.num_experts = reader.integer(key, 0);
  if (c.num_experts < 0 || c.num_experts > kMaxExperts) {
    reader.fail(key, "0 to " + std::to_string(kMaxExperts));
    c.num_experts = 0;
  }
  c.decoder_sparse_step = reader.positive("decoder_sparse_step", 1);
  c.mlp_only_layers = reader.integers("mlp_only_layers");
  c.norm_topk_prob = reader.boolean("norm_topk_prob", default_norm_topk_prob);
  bool any_sparse = false;
  bool any_dense = false;
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    (c.is_sparse(i) ? any_sparse : any_dense) = true;
  }
  if (any_dense) c.intermediate_size = reader.positive("intermediate_size", {}, kMaxWidth);
  if (!any_sparse) return;
  c.moe_intermediate_size = reader.positive("moe_intermediate_size", {}, kMaxWidth);
  c.num_experts_per_tok = reader.positive("num_experts_per_tok");
  if (c.num_experts_per_tok > c.num_experts) {
    reader.fail("num_experts_per_tok",
                "at most the number of experts, which is " + std::to_string(c.num_experts));
  }
}

int64_t read_token(const ConfigReader& reader, std::string_view key, int64_t vocab_size) {
  const int64_t id = reader.integer(key);
  if (id < 0 || id >= vocab_size) {
    reader.fail(key,
                "a token id below the vocabulary size, which is " + std::to_string(vocab_size));
  }
  return id;
}

AudioConfig read_audio(const ConfigReader& reader, int64_t hidden_size) {
  AudioConfig c;
  c.num_mel_bins = reader.positive("num_mel_bins");
  c.n_window = reader.positive("n_window");
  c.n_window_infer = reader.positive("n_window_infer");
  c.downsample_hidden_size = reader.positive("downsample_hidden_size");
  c.d_model = reader.positive("d_model");
  c.encoder_layers = reader.positive("encoder_layers");
  c.encoder_attention_heads = reader.positive("encoder_attention_heads");
  c.encoder_ffn_dim = reader.positive("encoder_ffn_dim");
  c.output_dim = reader.positive("output_dim");
  if (c.n_window_infer < 2 * c.n_window) {
    reader.fail("n_window_infer",
                "at least twice n_window, which is " + std::to_string(c.n_window));
  }
  if (c.d_model < 4 || c.d_model % 2 != 0) reader.fail("d_model", "an even number from 4 on");
  if (c.d_model % c.encoder_attention_heads != 0) {
    reader.fail("encoder_attention_heads", "a divisor of d_model");
  }
  if (c.output_dim != hidden_size) reader.fail("output_dim", "the text model's hidden_size");
  if (reader.string("activation_function", "gelu") != "gelu") {
    reader.fail("activation_function", "\"gelu\"");
  }
  return c;
}

VisionConfig read_vision(const ConfigReader& reader, const DecoderConfig& text) {
  VisionConfig c;
  c.patch_size = reader.positive("patch_size");
  c.temporal_patch_size = reader.positive("temporal_patch_size");
  c.in_channels = reader.positive("in_channels", 3);
  c.spatial_merge_size = reader.positive("spatial_merge_size");
  c.hidden_size = reader.positive("hidden_size");
  c.num_heads = reader.positive("num_heads");
  c.depth = reader.positive("depth");
  c.intermediate_size = reader.positive("intermediate_size");
  c.out_hidden_size = reader.positive("out_hidden_size");
  c.num_position_embeddings = reader.positive("num_position_embeddings");
  c.deepstack_visual_indexes = reader.integers("deepstack_visual_indexes");
  if (reader.has("rope_parameters")) {
    c.rope_theta = reader.object("rope_parameters").number("rope_theta", c.rope_theta);
  }
  // Half of a head turns with the row, half with the column, each in pairs.
  if (c.hidden_size % (4 * c.num_heads) != 0) {
    reader.fail("num_heads",
                "a divisor of hidden_size with head dimensions that are multiples of 4");
  }
  if (c.out_hidden_size != text.hidden_size) {
    reader.fail("out_hidden_size", "the text model's hidden_size");
  }
  const auto& indexes = c.deepstack_visual_indexes;
  const bool sorted = std::ranges::is_sorted(indexes, std::less_equal<int64_t>());
  if (!indexes.empty() && (!sorted || indexes.front() < 0 || indexes.back() >= c.depth)) {
    reader.fail("deepstack_visual_indexes", "rising layer indexes below depth");
  }
  if (static_cast<int64_t>(indexes.size()) > text.num_hidden_layers) {
    reader.fail("deepstack_visual_indexes", "at most one for each layer of the text model");
  }
  if (reader.string("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh") {
    reader.fail("hidden_act", "\"gelu_pytorch_tanh\"");
  }
  return c;
}

ThinkerConfig read_thinker(const ConfigReader& reader) {
  ThinkerConfig c;
  const ConfigReader text = reader.object("text_config");
  c.text = read_decoder(text, 1e6, true);
  c.text.vocab_size = text.positive("vocab_size");
  read_experts(text, true, c.text);
  c.tie_word_embeddings =
      text.boolean("tie_word_embeddings", reader.boolean("tie_word_embeddings", false));
  c.audio_token_id = read_token(reader, "audio_token_id", c.text.vocab_size);
  c.image_token_id = read_token(reader, "image_token_id", c.text.vocab_size);
  c.video_token_id = read_token(reader, "video_token_id", c.text.vocab_size);
  const bool has_audio = reader.has("audio_config"), has_vision = reader.has("vision_config");
  if (has_audio) {
    c.audio = read_audio(reader.object("audio_config"), c.text.hidden_size);
    c.audio_start_token_id = read_token(reader, "audio_start_token_id", c.text.vocab_size);
    c.audio_end_token_id = read_token(reader, "audio_end_token_id", c.text.vocab_size);
  }
  if (has_vision) {
    c.vision = read_vision(reader.object("vision_config"), c.text);
    c.vision_start_token_id = read_token(reader, "vision_start_token_id", c.text.vocab_size);
    c.vision_end_token_id = read_token(reader, "vision_end_token_id", c.text.vocab_size);
  }
  c.position_id_per_seconds = reader.number("position_id_per_seconds", c.position_id_per_seconds);
  return c;
}

TalkerConfig read_talker(const ConfigReader& reader, const ThinkerConfig& thinker) {
  TalkerConfig c;
  const ConfigReader text = reader.object("text_config");
  c.text = read_decoder(text, 1e6, true);
  c.text.vocab_size = text.positive("vocab_size");
  read_experts(text, false, c.text);
  c.text.intermediate_size =
      text.positive("intermediate_size", {}, kMaxWidth);  // also of the projections
  c.text.shared_expert_intermediate_size =
      text.positive("shared_expert_intermediate_size", {}, kMaxWidth);
  // The talker's layers are all mixtures of experts.
  c.text.decoder_sparse_step = 1;
  c.text.mlp_only_layers.clear();
  if (c.text.num_experts < 1) text.fail("num_experts", "1 or more");

  const ConfigReader predictor = reader.object("code_predictor_config");
  c.code_predictor = read_decoder(predictor, 1e6, false);
  c.code_predictor.vocab_size = predictor.positive("vocab_size");
  c.code_predictor.intermediate_size = predictor.positive("intermediate_size", {}, kMaxWidth);
  if (c.code_predictor.hidden_size != c.text.hidden_size) {
    predictor.fail("hidden_size",
                   "the talker's hidden_size, which is " + std::to_string(c.text.hidden_size));
  }
  c.num_code_groups = reader.positive("num_code_groups", {}, kMaxCodeGroups);
  if (c.num_code_groups < 2) reader.fail("num_code_groups", "2 or more");
  c.thinker_hidden_size = reader.positive("thinker_hidden_size", {}, kMaxWidth);
  if (c.thinker_hidden_size != thinker.text.hidden_size) {
    reader.fail("thinker_hidden_size",
                "the thinker's hidden_size, which is " + std::to_string(thinker.text.hidden_size));
  }
  c.accept_hidden_layer = reader.integer("accept_hidden_layer");
  if (c.accept_hidden_layer < 0 || c.accept_hidden_layer > thinker.text.num_hidden_layers) {
    reader.fail("accept_hidden_layer", "0 to the thinker's num_hidden_layers, which is " +
                                           std::to_string(thinker.text.num_hidden_layers));
  }
  const int64_t vocab = c.text.vocab_size;
  c.codec_pad_id = read_token(reader, "codec_pad_id", vocab);
  c.codec_bos_id = read_token(reader, "codec_bos_id", vocab);
  c.codec_eos_token_id = read_token(reader, "codec_eos_token_id", vocab);
  c.codec_nothink_id = read_token(reader, "codec_nothink_id", vocab);
  c.codec_think_bos_id = read_token(reader, "codec_think_bos_id", vocab);
  c.codec_think_eos_id = read_token(reader, "codec_think_eos_id", vocab);
  c.speaker_id = reader.integer_map("speaker_id");
  for (const auto& [name, id] : c.speaker_id) {
    if (id < 0 || id >= vocab) reader.fail("speaker_id", "ids below the talker's vocab_size");
  }
  if (c.speaker_id.empty()) reader.fail("speaker_id", "at least one voice");
  return c;
}

Code2WavConfig read_code2wav(const ConfigReader& reader, const TalkerConfig& talker) {
  Code2WavConfig c;
  c.transformer = read_decoder(reader, 10000.0, false);
  c.transformer.rms_norm_eps = static_cast<float>(reader.number("rms_norm_eps", 1e-5));
  c.transformer.qk_norm = false;
  c.transformer.intermediate_size = reader.positive("intermediate_size", {}, kMaxWidth);
  c.transformer.sliding_window = reader.positive("sliding_window", {}, kMaxWidth);
  c.codebook_size = reader.positive("codebook_size");
  c.num_quantizers = reader.positive("num_quantizers", {}, kMaxCodeGroups);
  c.decoder_dim = reader.positive("decoder_dim", {}, kMaxWidth);
  c.upsample_rates = reader.integers("upsample_rates");
  c.upsampling_ratios = reader.integers("upsampling_ratios");
  for (const char* key : {"upsample_rates", "upsampling_ratios"}) {
    const auto rates = reader.integers(key);
    const bool in_range =
        std::ranges::all_of(rates, [](int64_t n) { return n >= 1 && n <= kMaxRate; });
    if (rates.empty() || rates.size() > kMaxUpsamplings || !in_range) {
      reader.fail(key, "1 to 8 integers from 1 to 1024");
      return c;
    }
  }
  if (c.decoder_dim >> c.upsample_rates.size() < 1) {
    reader.fail("decoder_dim", "at least 2 to the power of the number of upsample_rates");
  }
  // Double: the product of sixteen rates could overflow.
  double samples = 1;
  for (int64_t n : c.upsample_rates) samples *= static_cast<double>(n);
  for (int64_t n : c.upsampling_ratios) samples *= static_cast<double>(n);
  if (samples > kSampleRate) {
    reader.fail("upsample_rates", "rates whose product with upsampling_ratios is at most " +
                                      std::to_string(kSampleRate) + " samples per frame");
  }
  if (c.num_quantizers != talker.num_code_groups) {
    reader.fail("num_quantizers",
                "the talker's num_code_groups, which is " + std::to_string(talker.num_code_groups));
  }
  if (c.codebook_size < talker.code_predictor.vocab_size) {
    reader.fail("codebook_size", "at least the code predictor's vocab_size, which is " +
                                     std::to_string(talker.code_predictor.vocab_size));
  }
  return c;
}

}  // namespace

Result<Config> read_config(const std::filesystem::path& model_dir) {
  const auto path = model_dir / "config.json";
  TUTTI_ASSIGN_OR_RETURN(const boost::json::object root, read_json_object(path));
  Status status;
  const ConfigReader reader(root, path.string(), "", status);
  Config c;
  c.thinker = read_thinker(reader.object("thinker_config"));
  const int64_t vocab = c.thinker.text.vocab_size;
  c.im_start_token_id = read_token(reader, "im_start_token_id", vocab);
  c.im_end_token_id = read_token(reader, "im_end_token_id", vocab);
  c.has_talker = reader.boolean("enable_audio_output", true);
  if (c.has_talker) {
    c.talker = read_talker(reader.object("talker_config"), c.thinker);
    c.code2wav = read_code2wav(reader.object("code2wav_config"), c.talker);
    c.system_token_id = read_token(reader, "system_token_id", vocab);
    c.user_token_id = read_token(reader, "user_token_id", vocab);
    c.assistant_token_id = read_token(reader, "assistant_token_id", vocab);
    c.tts_pad_token_id = read_token(reader, "tts_pad_token_id", vocab);
    c.tts_bos_token_id = read_token(reader, "tts_bos_token_id", vocab);
    c.tts_eos_token_id = read_token(reader, "tts_eos_token_id", vocab);
  }
  TUTTI_RETURN_IF_ERROR(status);
  return c;
}

}  // namespace tutti::qwen3_omni_moe
