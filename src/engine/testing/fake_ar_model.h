// FakeArModel: an autoregressive model whose logits are a hash of everything its sequence has in
// the KV cache. A wrong slot, block table, position or token changes all that follows. A test
// double.
#pragma once

#include <functional>

#include "models/ar_model.h"

namespace tutti::testing {

struct FakeArOptions {
  int64_t vocab_size = 97;
  int64_t max_model_len = 512;
  std::vector<int32_t> eos_token_ids;
  std::vector<int32_t> suppressed_token_ids;
  bool prompt_has_token_ids = true;
  // The prompt is known only when so many ids have come.
  int64_t min_prompt = 1;
  // As a talker: the input of a generated position needs one id from upstream beside its token,
  // until the upstream has ended. Ids after the first min_prompt are these.
  bool needs_upstream = false;
  float logit_scale = 8;
  double frame_s = 0;
  std::function<void(int64_t rows)> during_forward;  // e.g. to let time pass
};

// Ids with a meaning in prompts and chunks.
inline constexpr int32_t kRefusedId = -1;  // start() and append() fail
inline constexpr int32_t kNanId = -2;      // logits become NaN from the third token on
inline constexpr int32_t kThrowId = -3;    // forward() throws when it is in the batch
inline constexpr int32_t kEmptyId = -4;    // the sequence can produce nothing

// Ids of prompts that stand for a picture: what it shows is the payload's "picture" [1] I32, and
// positions of it have an extra (prefix cache).
inline constexpr bool is_picture(int32_t id) { return id >= 0 && id % 5 == 0; }

class FakeArModel final : public ArModel {
 public:
  explicit FakeArModel(FakeArOptions options);

  const ArModelInfo& info() const override { return info_; }
  Result<std::unique_ptr<ArSequence>> start(const StageInput& input) override;
  Status append(ArSequence& sequence, StagePayload payload, bool last) override;
  Status extend(ArSequence& sequence, std::span<const int32_t> generated,
                const StageInput& input) override;
  int64_t prompt_length(const ArSequence& sequence) const override;
  std::span<const int32_t> prompt_token_ids(const ArSequence& sequence) const override;
  bool input_ready(const ArSequence& sequence, int64_t i) const override;
  bool ends_empty(const ArSequence& sequence) const override;
  Tensor forward(OpContext& ctx, const ArBatch& batch) override;
  void after_sample(OpContext& ctx, const ArBatch& batch, const Sampled& sampled) override;
  // token_ids: the positions that have come since the last call; "positions": the same, [n, 1] I32;
  // "codes": what after_sample() made of the new token, [1, 2] I32, when there is one; "extras": of
  // pictures among the positions, [n, 1] I32, each a hash of all inputs up to its position.
  StagePayload take_payload(ArSequence& sequence) override;
  MediaHash content_hash(const ArSequence& sequence, int64_t begin, int64_t end) const override;
  Tensor take_extra(ArSequence& sequence, int64_t begin, int64_t end) override;
  void skip(ArSequence& sequence, int64_t positions, std::span<const Tensor> extras) override;

  int64_t max_rows_seen = 0;
  int64_t max_sequences_seen = 0;
  int64_t num_sequences_alive = 0;
  int64_t rows_computed = 0;

 private:
  void forward_item(const ArBatch& batch, int64_t index, const Tensor& logits);

  FakeArOptions options_;
  ArModelInfo info_;
};

}  // namespace tutti::testing
