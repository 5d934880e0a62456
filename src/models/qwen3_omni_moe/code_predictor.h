// CodePredictor: the residual codes of a frame from the talker's hidden state and the frame's first
// code. A small decoder runs over G positions: hidden state, first code, second code, ...; head
// g - 1 gives code g.
//
// Thread: the stage's replica thread. Everything lives in the workspace of the step.
#pragma once

#include <span>
#include <vector>

#include "models/qwen3_omni_moe/decoder_stack.h"
#include "ops/sample.h"

namespace tutti::qwen3_omni_moe {

struct CodePredictorWeights {
  DecoderStack stack;
  Tensor embeddings;          // [(G - 1) * codebook, hidden]: tables of codes 1 .. G - 1
  std::vector<Linear> heads;  // G - 1 of [codebook, hidden]
};
CodePredictorWeights load_code_predictor(WeightLoader& loader, const TalkerConfig& config);

class CodePredictor {
 public:
  CodePredictor(const TalkerConfig& config, CodePredictorWeights weights);

  // How one frame chooses its residual codes.
  struct Draw {
    bool greedy = false;
    uint64_t seed = 0;
    uint64_t step = 0;  // frame index: with seed and group the counter of the random numbers
    const LoraAdapter* lora = nullptr;
  };
  // hidden [S, hidden], first [S, hidden] (embedding of the first codes); codes is host memory
  // [S, G], whose column 0 is not touched.
  void predict(OpContext& ctx, const Tensor& hidden, const Tensor& first,
               std::span<const Draw> draws, std::span<int32_t> codes);

  const Tensor& embeddings() const { return weights_.embeddings; }
  int64_t codebook_size() const { return codebook_; }
  void set_probe(Probe probe) { probe_ = std::move(probe); }

 private:
  struct Paging;
  void sample(OpContext& ctx, const Tensor& logits, std::span<const Draw> draws, int64_t group,
              const Tensor& ids);

  int64_t groups_;
  int64_t codebook_;
  DecoderConfig decoder_;
  CodePredictorWeights weights_;
  std::vector<ops::SampleParams> params_;  // kept, so that a step allocates nothing
  std::vector<KvLayer> kv_;
  LoraRows pair_lora_;  // two rows of each frame
  LoraRows lora_;       // one row of each
  Probe probe_;
};

}  // namespace tutti::qwen3_omni_moe
