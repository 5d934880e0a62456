// ArModel: an autoregressive network as the AR engine sees it (thinker, talker). The engine owns
// tokens, KV blocks and sampling; the model owns its inputs, positions and extra outputs.
//
// Thread: all calls come from the stage's replica thread. Model code runs over layers and ops and
// never reads tensor memory on the host, except host metadata that it made itself.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/context.h"
#include "models/media_hash.h"
#include "models/probe.h"
#include "models/stage_io.h"
#include "ops/attention.h"
#include "ops/lora.h"
#include "weights/lora.h"

namespace tutti {

struct ArModelInfo {
  int64_t vocab_size = 0;
  int64_t num_layers = 0;  // that own a KV cache
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t max_model_len = 0;  // positions the model was trained for
  DType kv_dtype = DType::kF32;
  std::vector<int32_t> eos_token_ids;
  std::vector<int32_t> suppressed_token_ids;  // never sampled
  // Whether prompt positions carry token ids of this stage's own vocabulary (thinker: yes; talker:
  // no, its prompt is embeddings). Repetition penalty sees prompt ids only then.
  bool prompt_has_token_ids = true;
  double frame_s = 0;  // seconds of speech per generated token; 0: it is text
};

// The model's own state of one sequence.
class ArSequence {
 public:
  virtual ~ArSequence() = default;
};

struct ArBatchItem {
  ArSequence* sequence = nullptr;
  // Positions [start, start + count) are computed in this step and become rows of the batch.
  int64_t start = 0;
  int64_t count = 0;
  // Tokens generated so far (not the prompt); position prompt_length + i carries generated[i].
  std::span<const int32_t> generated;
  // The last row is followed by sampling; its logits are row `sample_row` of the result.
  bool samples = false;
  int64_t sample_row = -1;
  // The request has a downstream stage that consumes the model's payload.
  bool wants_payload = false;
  // take_extra() may be asked for these positions later.
  bool keeps_extras = false;
  // What its rows go through; null: no adapter of this stage.
  const LoraAdapter* lora = nullptr;
};

struct KvLayer {
  Tensor k;  // [num_blocks, num_key_value_heads, block_size, head_dim]
  Tensor v;
};

struct ArBatch {
  std::span<ArBatchItem> items;
  int64_t num_tokens = 0;  // rows
  int64_t num_samples = 0;
  const ops::PagedBatch& paged;
  std::span<const KvLayer> kv_layers;
  // Adapters of the rows that sampling follows. Those of all rows are in the OpContext while the
  // model runs; a model that picks rows says so (LoraScope).
  const LoraRows* sample_lora = &kNoLoraRows;
};

class ArModel {
 public:
  virtual ~ArModel() = default;
  virtual const ArModelInfo& info() const = 0;

  // The linear maps that adapters may change; none: the model takes no adapters.
  virtual const LoraTargets& lora_targets() const {
    static const LoraTargets kNone;
    return kNone;
  }

  // Begins a sequence. Host work only; wrong inputs are the request's error.
  virtual Result<std::unique_ptr<ArSequence>> start(const StageInput& input) = 0;
  // A further chunk from upstream. Host work only.
  virtual Status append(ArSequence& sequence, StagePayload payload, bool last) = 0;

  // A further segment of a resumable sequence (StageInput::resumable): `generated` becomes part of
  // the prompt, the input follows. Positions that are computed stay as they are, so the prompt only
  // grows. The next payload begins anew: what downstream stages need of the whole context. Host
  // work only.
  virtual Status extend(ArSequence&, std::span<const int32_t> /*generated*/, const StageInput&) {
    return unimplemented("This model does not take further segments of a request.");
  }

  // Length of the prompt in positions, or -1 while it is not known (more chunks must come).
  virtual int64_t prompt_length(const ArSequence& sequence) const = 0;
  // Prompt token ids for penalties and the prefix cache; empty when prompt_has_token_ids is false.
  virtual std::span<const int32_t> prompt_token_ids(const ArSequence& sequence) const = 0;
  // Whether the input of position prompt_length + i (i >= 0) is known, given that the token
  // generated at i has been sampled. False: the sequence waits for a chunk.
  virtual bool input_ready(const ArSequence& sequence, int64_t i) const = 0;
  // True when the sequence can produce nothing (e.g. a talker whose text is empty): it ends at once
  // with FinishReason::kStop and no output.
  virtual bool ends_empty(const ArSequence& sequence) const = 0;

  // One forward pass over the batch's rows. Returns logits [num_samples, vocab_size] F32 in the
  // workspace, valid until the enclosing Workspace::Scope ends.
  virtual Tensor forward(OpContext& ctx, const ArBatch& batch) = 0;

  // What sampling chose for row i = items[..].sample_row. Called in the same step, before the
  // tokens are published; ends[i] says that the sequence is over (its token is an end token).
  // The talker predicts the other code groups here. `params` and `seeds` are per sample row.
  struct Sampled {
    std::span<const int32_t> token_ids;
    std::span<const uint8_t> ends;
    std::span<const SamplingParams* const> params;
    std::span<const uint64_t> seeds;  // of the request
  };
  virtual void after_sample(OpContext& ctx, const ArBatch& batch, const Sampled& sampled) = 0;

  // What downstream stages get of this step, for items with wants_payload. New host-visible
  // tensors that nobody writes again. A stage of text gives its inputs' ids as token_ids; the
  // engine holds back the last ones while they may be part of a stop string.
  virtual StagePayload take_payload(ArSequence& sequence) = 0;

  // --- the prefix cache, for models with prompt_has_token_ids; host work, between steps

  // Hash of all that, beside the token ids up to `end`, makes the KV of positions [begin, end)
  // what it is: media by content, rotary positions that are not the token's index. Zero when there
  // is nothing such. Must not allocate.
  virtual MediaHash content_hash(const ArSequence&, int64_t /*begin*/, int64_t /*end*/) const {
    return {};
  }
  // What payloads need of computed positions [begin, end) and cannot be rebuilt from token ids, as
  // one new tensor that nobody writes again; undefined when there is nothing such. The engine keeps
  // it as long as the positions' KV.
  virtual Tensor take_extra(ArSequence&, int64_t /*begin*/, int64_t /*end*/) { return {}; }
  // Positions [0, positions) are in the KV cache, though not all of them were computed for this
  // sequence. `extras` are take_extra()'s for them, in order, from position 0 on. Payload that has
  // not gone out for these positions goes out with the next step's.
  virtual void skip(ArSequence&, int64_t /*positions*/, std::span<const Tensor> /*extras*/) {}

  // Forgets cached encoder outputs of media. Between steps.
  virtual void reset_mm_cache() {}

  // For checkers: sees intermediate tensors from now on.
  virtual void set_probe(Probe) {}
};

}  // namespace tutti
