#include "models/qwen3_omni_moe/footprint.h"

#include <algorithm>

namespace tutti::qwen3_omni_moe {

namespace {

constexpr int64_t kFloat = sizeof(float);
// As in code2wav.cc and media_encoder.cc.
constexpr int64_t kMaxFramesPerStep = 32;
constexpr int64_t kMaxFramesPerPass = 64;
constexpr int64_t kEncoderRowsAtOnce = 2048;

// Values per row of a decoder layer beside the residual stream: the larger of attention and MLP.
int64_t layer_values(const DecoderConfig& c) {
  const int64_t q = c.num_attention_heads * c.head_dim;
  const int64_t kv = c.num_key_value_heads * c.head_dim;
  int64_t mlp = 2 * c.intermediate_size;
  if (c.num_experts > 0) {
    // Router's logits, and inputs, gates, products and results of the chosen experts.
    const int64_t pair = 2 * c.hidden_size + 2 * c.moe_intermediate_size;
    const int64_t moe = c.num_experts + c.num_experts_per_tok * pair + c.hidden_size +
                        2 * c.shared_expert_intermediate_size;
    mlp = std::max(c.mlp_only_layers.empty() ? 0 : mlp, moe);
  }
  return c.hidden_size + std::max(2 * q + 2 * kv, mlp);
}

// The residual stream, rotary angles, the largest layer, logits of the sampled rows, and the
// sampler's sort of one row per thread.
int64_t decoder_bytes(const DecoderConfig& c, const StepLimits& limits) {
  const int64_t per_row = c.hidden_size + c.head_dim + 8 + layer_values(c);
  const int64_t sampling = c.vocab_size * (limits.max_num_seqs + 2 * limits.num_threads);
  return kFloat * (limits.max_num_batched_tokens * per_row + sampling);
}

int64_t vision_bytes(const VisionConfig& c) {
  const int64_t patches = kEncoderRowsAtOnce * c.merge_unit();
  const int64_t per_patch =
      2 * c.hidden_size + std::max(4 * c.hidden_size, c.intermediate_size) + c.patch_elements();
  const auto outputs = static_cast<int64_t>(c.deepstack_visual_indexes.size()) + 1;
  return kFloat * (patches * per_patch + kEncoderRowsAtOnce * outputs * c.out_hidden_size);
}

int64_t audio_bytes(const AudioConfig& c) {
  const int64_t per_row = 2 * c.d_model + std::max(4 * c.d_model, c.encoder_ffn_dim);
  return kFloat * kEncoderRowsAtOnce * (per_row + c.output_dim);
}

}  // namespace

int64_t thinker_workspace_bytes(const ThinkerConfig& config, const StepLimits& limits) {
  // An encoder runs inside the step, beside the rows' embeddings.
  int64_t encoders = 0;
  if (config.vision) encoders = std::max(encoders, vision_bytes(*config.vision));
  if (config.audio) encoders = std::max(encoders, audio_bytes(*config.audio));
  encoders += encoders == 0 ? 0 : kFloat * limits.max_num_batched_tokens * config.text.hidden_size;
  return std::max(decoder_bytes(config.text, limits), encoders);
}

int64_t talker_workspace_bytes(const TalkerConfig& config, const StepLimits& limits) {
  const int64_t inputs =
      limits.max_num_batched_tokens * (config.thinker_hidden_size + config.text.intermediate_size);
  // The code predictor's own cache and rows, of all sequences at once.
  const DecoderConfig& c = config.code_predictor;
  const int64_t cache =
      2 * c.num_hidden_layers * c.num_key_value_heads * c.head_dim * (config.num_code_groups + 1);
  const int64_t predictor =
      limits.max_num_seqs * (cache + c.vocab_size + 2 * (c.hidden_size + layer_values(c)));
  return std::max(decoder_bytes(config.text, limits) + kFloat * inputs, kFloat * predictor);
}

int64_t code2wav_workspace_bytes(const Code2WavConfig& config, const StepLimits& limits) {
  const DecoderConfig& c = config.transformer;
  int64_t rows = std::min(kMaxFramesPerPass, kMaxFramesPerStep * limits.max_num_seqs);
  int64_t kept = rows * (c.hidden_size + config.num_quantizers);
  int64_t scratch = rows * (c.hidden_size + layer_values(c));
  for (const int64_t ratio : config.upsampling_ratios) {
    rows *= ratio;
    kept += rows * c.hidden_size;
    // The block's input window, its hidden rows and the four times wider ones.
    scratch = std::max(scratch, rows * 6 * c.hidden_size);
  }
  kept += rows * (config.decoder_dim + c.hidden_size);
  int64_t channels = config.decoder_dim;
  for (const int64_t rate : config.upsample_rates) {
    scratch = std::max(scratch, rows * channels);
    rows *= rate;
    channels /= 2;
    kept += rows * channels;
    scratch = std::max(scratch, 2 * rows * channels);  // a residual unit's two windows
  }
  return kFloat * (kept + scratch);
}

int64_t code2wav_sequence_bytes(const Code2WavConfig& config) {
  constexpr int64_t kBlockSize = 16;
  const DecoderConfig& c = config.transformer;
  const int64_t live = c.sliding_window - 1 + kMaxFramesPerStep;
  const int64_t ring = ((live + kBlockSize - 1) / kBlockSize + 1) * kBlockSize;
  int64_t values = 2 * c.num_hidden_layers * ring * c.num_key_value_heads * c.head_dim;
  constexpr int64_t kTail = 6;                         // rows that a kernel of 7 looks back
  constexpr int64_t kUnitTails = kTail * (1 + 3 + 9);  // of the three dilations
  values += static_cast<int64_t>(config.upsampling_ratios.size()) * (1 + kTail) * c.hidden_size;
  values += kTail * c.hidden_size;
  int64_t channels = config.decoder_dim;
  for (size_t i = 0; i < config.upsample_rates.size(); ++i) {
    values += channels;
    channels /= 2;
    values += kUnitTails * channels;
  }
  return kFloat * (values + kTail * channels);
}

}  // namespace tutti::qwen3_omni_moe
