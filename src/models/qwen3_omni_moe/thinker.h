// Thinker: the language model of Qwen3-Omni. Text and media in, text out; what the talker needs
// goes out as payload.
//
// Payload in: the prompt's token_ids with a placeholder for each row of an item, and its media
// (prompt_media.h); or "embeds" [n, hidden_size] F32, rows in place of token embeddings. An item is
// encoded in the step that computes its first position; its rows replace the placeholders'
// embeddings, and DeepStack adds further ones behind the first layers. Payload out: token_ids of
// the positions that a step has computed: the prompt's with the prefill, then each generated token
// when it is fed back, so that the last one (the end token, or the one at max_tokens) never goes
// out, as in the reference. "prompt_length" [1] I32 and the media's layout come with the first
// chunk; "hidden" [n, hidden_size] F32 holds the rows of media positions among them, as output by
// layer accept_hidden_layer. Those rows are what the prefix cache keeps beside KV blocks: positions
// that were skipped go out as if they had been computed. A further segment continues ids, rotary
// positions and media rows as if all had been one prompt; its payload tells of the whole context
// again. An answer's ids are text, whatever they are. Thread: the stage's replica thread.
#pragma once

#include <memory>
#include <vector>

#include "models/ar_model.h"
#include "models/qwen3_omni_moe/decoder_stack.h"
#include "models/qwen3_omni_moe/media_encoder.h"

namespace tutti::qwen3_omni_moe {

struct ThinkerSequence final : ArSequence {
  std::vector<int32_t> prompt;  // kNoToken where rows were given instead
  RopeIndex rope;
  PromptMedia layout;                 // without features
  std::vector<MediaState> media;      // items of the layout
  std::vector<MediaRow> media_rows;   // of each prompt position; empty without media
  std::vector<int32_t> media_before;  // [prompt + 1] placeholders before each; empty: none at all
  struct GivenRows {
    int64_t first = 0;  // position
    Tensor rows;
  };
  std::vector<GivenRows> given;
  int64_t exported = 0;    // positions whose ids have gone out; recomputed ones don't go again
  bool announced = false;  // the prompt's length has gone out
  std::vector<int32_t> new_ids;
  // Rows of layer accept_hidden_layer at placeholders, [media_before.back(), hidden_size]: those
  // before position accepted_until are there and never change; the first exported_rows went out.
  Tensor accepted;
  int64_t accepted_until = 0;
  int64_t exported_rows = 0;

  int64_t rows_before(int64_t position) const;
  bool is_placeholder(int64_t position) const {
    return rows_before(position + 1) > rows_before(position);
  }
  // The row given for a position; undefined when it has a token.
  Tensor given_row(int64_t position) const;
};

class Thinker final : public ArModel {
 public:
  struct Weights {
    Tensor embed_tokens;  // [vocab_size, hidden]
    DecoderStack stack;
    Linear lm_head;
    Towers towers;
    LoraTargets lora_targets;
    std::shared_ptr<const void> shared = nullptr;  // the load whose handles these are copies of
  };
  static Weights load(WeightLoader& loader, const ThinkerConfig& config);

  Thinker(const ThinkerConfig& config, int64_t accept_hidden_layer, Weights weights,
          std::vector<int32_t> eos_token_ids, DType kv_dtype, int64_t mm_cache_bytes);

  const ArModelInfo& info() const override { return info_; }
  const LoraTargets& lora_targets() const override { return weights_.lora_targets; }
  const Weights& weights() const { return weights_; }
  Result<std::unique_ptr<ArSequence>> start(const StageInput& input) override;
  Status append(ArSequence& sequence, StagePayload payload, bool last) override;
  Status extend(ArSequence& sequence, std::span<const int32_t> generated,
                const StageInput& input) override;
  int64_t prompt_length(const ArSequence& sequence) const override;
  std::span<const int32_t> prompt_token_ids(const ArSequence& sequence) const override;
  bool input_ready(const ArSequence&, int64_t) const override { return true; }
  bool ends_empty(const ArSequence&) const override { return false; }
  Tensor forward(OpContext& ctx, const ArBatch& batch) override;
  void after_sample(OpContext&, const ArBatch&, const Sampled&) override {}
  StagePayload take_payload(ArSequence& sequence) override;
  MediaHash content_hash(const ArSequence& sequence, int64_t begin, int64_t end) const override;
  Tensor take_extra(ArSequence& sequence, int64_t begin, int64_t end) override;
  void skip(ArSequence& sequence, int64_t positions, std::span<const Tensor> extras) override;
  void reset_mm_cache() override { media_encoder_.cache().clear(); }
  void set_probe(Probe probe) override { probe_ = std::move(probe); }

 private:
  // Rows of one item that stand at consecutive rows of a batch.
  struct MediaRun {
    const EncodedMedia* media = nullptr;
    int64_t media_row = 0;
    int64_t batch_row = 0;
    int64_t count = 0;
  };
  Result<std::vector<int32_t>> input_ids(const StageInput& input) const;
  Status add_input(const StageInput& input, ThinkerSequence& sequence) const;
  void add_ids(std::span<const int32_t> ids, bool is_input, ThinkerSequence& sequence) const;
  void add_media(PromptMedia media, std::span<const MediaRow> rows,
                 ThinkerSequence& sequence) const;
  void merge_given(OpContext& ctx, const ArBatch& batch, const Tensor& x) const;
  void encode_media(OpContext& ctx, const ArBatch& batch);
  void merge_media(OpContext& ctx, const Tensor& x) const;
  void add_deepstack(OpContext& ctx, size_t level, const Tensor& x) const;
  void export_ids(const ArBatchItem& item) const;
  Tensor accepted_rows(ThinkerSequence& sequence) const;
  void accept_hidden(OpContext& ctx, const ArBatch& batch, const Tensor& x) const;

  ThinkerConfig config_;
  int64_t accept_hidden_layer_;
  Weights weights_;
  MediaEncoder media_encoder_;
  ArModelInfo info_;
  std::vector<MediaRun> media_runs_;  // of the step in progress
  Probe probe_;
};

}  // namespace tutti::qwen3_omni_moe
