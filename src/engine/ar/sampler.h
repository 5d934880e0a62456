// Sampler: chooses one token per sample row from the model's logits and the row's parameters.
//
// Order, as in vLLM and in Hugging Face's processors: end tokens masked before min_tokens,
// suppressed ids, logit_bias, penalties; then (in ops::sample) temperature, top_k, top_p, min_p and
// the choice by the row's own random number. A forced token stands in for the choice. Logits are
// changed in place. Thread: the stage's replica thread. Invariants: after the first call with most
// rows nothing is allocated, but for logprobs.
#pragma once

#include <span>
#include <vector>

#include "backend/context.h"
#include "engine/ar/penalties.h"
#include "models/ar_model.h"
#include "ops/sample.h"

namespace tutti::ar {

struct SampleRow {
  const SamplingParams* params = nullptr;
  const Penalties* penalties = nullptr;
  uint64_t seed = 0;
  int64_t index = 0;  // how many tokens the sequence has produced before
};

class Sampler {
 public:
  Sampler(const ArModelInfo& info, int32_t max_rows);

  // logits [rows, vocab_size] F32, host memory.
  void sample(OpContext& ctx, const Tensor& logits, std::span<const SampleRow> rows);

  // Of the last call, per row. A bad row has logits that are not numbers, or no token left to
  // choose.
  std::span<const int32_t> token_ids() const { return {token_ids_.data<int32_t>(), num_rows_}; }
  bool is_bad(size_t row) const { return bad_[row] != 0; }
  // Empty unless the row asked for them.
  std::vector<TokenLogprob>& logprobs(size_t row) { return logprobs_[row]; }

 private:
  void prepare_row(std::span<float> logits, const SampleRow& row, size_t i);
  void force_token(const SampleRow& row, size_t i);
  void keep_raw(std::span<const float> logits);

  const ArModelInfo& info_;
  size_t num_rows_ = 0;
  Tensor uniform_;    // [max_rows] F32
  Tensor token_ids_;  // [max_rows] I32
  std::vector<ops::SampleParams> params_;
  std::vector<uint8_t> bad_;
  std::vector<float> raw_logits_;  // copies of the rows that want logprobs
  std::vector<std::vector<TokenLogprob>> logprobs_;
};

}  // namespace tutti::ar
