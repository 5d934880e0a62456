// Configuration of the Qwen3-Omni-MoE family: what config.json says, checked.
//
// Takes both spellings of rotary parameters: rope_theta with rope_scaling (published files) and
// rope_parameters (transformers 5). Keys that these networks do not need are ignored.
// Thread: plain data.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tutti/status.h"

namespace tutti::qwen3_omni_moe {

struct RopeConfig {
  double theta = 1e6;
  std::vector<int64_t> mrope_section;  // temporal, height, width; empty: plain rotary
};

// A stack of decoder layers: thinker, talker, code predictor, code2wav's pre-transformer.
struct DecoderConfig {
  int64_t hidden_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate_size = 0;  // of dense layers
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  bool attention_bias = false;
  bool qk_norm = true;
  int64_t sliding_window = 0;  // 0: none
  RopeConfig rope;
  // Mixture of experts; num_experts 0: all layers are dense.
  int64_t num_experts = 0;
  int64_t num_experts_per_tok = 0;
  int64_t moe_intermediate_size = 0;
  bool norm_topk_prob = true;
  int64_t decoder_sparse_step = 1;
  std::vector<int64_t> mlp_only_layers;
  int64_t shared_expert_intermediate_size = 0;  // 0: no shared expert

  // Whether layer i is a mixture of experts.
  bool is_sparse(int64_t layer) const;
};

// The audio encoder: mel frames in chunks through three convolutions, then attention in windows.
struct AudioConfig {
  int64_t num_mel_bins = 0;
  int64_t n_window = 0;        // half a chunk, in mel frames
  int64_t n_window_infer = 0;  // an attention window, in mel frames
  int64_t downsample_hidden_size = 0;
  int64_t d_model = 0;
  int64_t encoder_layers = 0;
  int64_t encoder_attention_heads = 0;
  int64_t encoder_ffn_dim = 0;
  int64_t output_dim = 0;

  // Rows that a chunk of mel frames becomes: three halvings, rounded up.
  static int64_t downsampled(int64_t frames) {
    for (int i = 0; i < 3; ++i) frames = (frames + 1) / 2;
    return frames;
  }
  // Rows of a sound: its placeholders in the prompt.
  int64_t rows(int64_t frames) const {
    const int64_t chunk = 2 * n_window;
    return frames / chunk * downsampled(chunk) + downsampled(frames % chunk);
  }
};

// The vision encoder: flattened patches of pictures and clips.
struct VisionConfig {
  int64_t patch_size = 0;
  int64_t temporal_patch_size = 0;
  int64_t in_channels = 0;
  int64_t spatial_merge_size = 0;
  int64_t hidden_size = 0;
  int64_t num_heads = 0;
  int64_t depth = 0;
  int64_t intermediate_size = 0;
  int64_t out_hidden_size = 0;
  int64_t num_position_embeddings = 0;  // a square grid
  std::vector<int64_t> deepstack_visual_indexes;
  double rope_theta = 10000.0;

  int64_t patch_elements() const {
    return in_channels * temporal_patch_size * patch_size * patch_size;
  }
  // Patches that become one row, and its width before the merger's last map.
  int64_t merge_unit() const { return spatial_merge_size * spatial_merge_size; }
};

struct ThinkerConfig {
  DecoderConfig text;
  std::optional<AudioConfig> audio;    // none: the model does not hear
  std::optional<VisionConfig> vision;  // none: the model does not see
  bool tie_word_embeddings = false;
  int64_t audio_token_id = 0;
  int64_t image_token_id = 0;
  int64_t video_token_id = 0;
  int64_t audio_start_token_id = 0;
  int64_t audio_end_token_id = 0;
  int64_t vision_start_token_id = 0;
  int64_t vision_end_token_id = 0;
  double position_id_per_seconds = 25;  // temporal positions of a clip

  bool is_media_token(int64_t id) const {
    return id == audio_token_id || id == image_token_id || id == video_token_id;
  }
};

struct TalkerConfig {
  DecoderConfig text;
  DecoderConfig code_predictor;
  int64_t thinker_hidden_size = 0;
  int64_t accept_hidden_layer = 0;
  int64_t num_code_groups = 0;
  int64_t codec_pad_id = 0;
  int64_t codec_bos_id = 0;
  int64_t codec_eos_token_id = 0;
  int64_t codec_nothink_id = 0;
  int64_t codec_think_bos_id = 0;
  int64_t codec_think_eos_id = 0;
  std::vector<std::pair<std::string, int64_t>> speaker_id;  // in the file's order
};

struct Code2WavConfig {
  DecoderConfig transformer;
  int64_t codebook_size = 0;
  int64_t num_quantizers = 0;
  int64_t decoder_dim = 0;
  std::vector<int64_t> upsample_rates;     // decoder blocks, kernel 2 * rate
  std::vector<int64_t> upsampling_ratios;  // ConvNeXt upsampling, kernel = ratio

  int64_t samples_per_frame() const;
};

struct Config {
  ThinkerConfig thinker;
  bool has_talker = false;
  TalkerConfig talker;
  Code2WavConfig code2wav;
  int64_t im_start_token_id = 0;
  int64_t im_end_token_id = 0;
  int64_t system_token_id = 0;
  int64_t user_token_id = 0;
  int64_t assistant_token_id = 0;
  int64_t tts_pad_token_id = 0;
  int64_t tts_bos_token_id = 0;
  int64_t tts_eos_token_id = 0;
};

// Hz; the family's codec has one rate, which its config does not name.
inline constexpr int32_t kSampleRate = 24000;

// Reads model_dir/config.json. Errors name the key, what was found and what is allowed.
Result<Config> read_config(const std::filesystem::path& model_dir);

}  // namespace tutti::qwen3_omni_moe
