// Talker: speaks the thinker's text as codec frames. Each step samples a frame's first code; the
// code predictor adds the others at once.
//
// Payload in: the thinker's (token_ids, "prompt_length", the media's layout, "hidden"). Payload
// out: "codes" [n, G] I32. The input of any position is rebuilt from ids (text, codes), so
// preemption by recompute needs no saved activations: text_projection(thinker's embedding) or
// hidden_projection(media row), plus the embeddings of a codec control token or of a frame's G
// codes. Thread: the stage's replica thread.
#pragma once

#include <memory>
#include <vector>

#include "models/ar_model.h"
#include "models/qwen3_omni_moe/code_predictor.h"
#include "models/qwen3_omni_moe/talker_inputs.h"

namespace tutti::qwen3_omni_moe {

struct TalkerSequence final : ArSequence {
  explicit TalkerSequence(TalkerInputs inputs_in) : inputs(std::move(inputs_in)) {}

  TalkerInputs inputs;
  RopeIndex rope;
  PromptMedia layout;          // of the thinker's prompt
  std::vector<Tensor> media;   // hidden rows of the thinker, in order of arrival
  std::vector<int32_t> codes;  // [frames, G]
  int64_t published_frames = 0;
};

class Talker final : public ArModel {
 public:
  struct Weights {
    Tensor thinker_embed_tokens;
    ResizeMlp text_projection;
    ResizeMlp hidden_projection;
    Tensor codec_embedding;  // [vocab_size, hidden]
    DecoderStack stack;
    Linear codec_head;
    CodePredictorWeights code_predictor;
    LoraTargets lora_targets;
    std::shared_ptr<const void> shared = nullptr;  // the load whose handles these are copies of
  };
  static Weights load(WeightLoader& loader, const Config& config);

  Talker(const Config& config, Weights weights, DType kv_dtype);

  const ArModelInfo& info() const override { return info_; }
  const LoraTargets& lora_targets() const override { return weights_.lora_targets; }
  const Weights& weights() const { return weights_; }
  // input.voice: a name of config.talker.speaker_id; empty: the first.
  Result<std::unique_ptr<ArSequence>> start(const StageInput& input) override;
  Status append(ArSequence& sequence, StagePayload payload, bool last) override;
  int64_t prompt_length(const ArSequence& sequence) const override;
  std::span<const int32_t> prompt_token_ids(const ArSequence&) const override { return {}; }
  bool input_ready(const ArSequence& sequence, int64_t i) const override;
  bool ends_empty(const ArSequence& sequence) const override;
  Tensor forward(OpContext& ctx, const ArBatch& batch) override;
  void after_sample(OpContext& ctx, const ArBatch& batch, const Sampled& sampled) override;
  StagePayload take_payload(ArSequence& sequence) override;
  void set_probe(Probe probe) override;

 private:
  void embed_inputs(OpContext& ctx, const ArBatch& batch, const Tensor& x);
  void embed_text(OpContext& ctx, const ArBatch& batch, const Tensor& x) const;
  void embed_media(OpContext& ctx, const ArBatch& batch, const Tensor& x);
  void embed_controls(OpContext& ctx, const ArBatch& batch, const Tensor& x) const;
  void embed_frames(OpContext& ctx, const ArBatch& batch, const Tensor& x) const;

  Config config_;
  int64_t groups_;
  int64_t hidden_size_;
  Weights weights_;
  CodePredictor code_predictor_;
  ArModelInfo info_;
  Tensor sample_hidden_;  // [num_samples, hidden] of the step; valid until after_sample
  std::vector<CodePredictor::Draw> draws_;
  std::vector<int32_t> frame_codes_;
  LoraRows media_lora_;  // of the media rows of the step
  Probe probe_;
};

}  // namespace tutti::qwen3_omni_moe
