// Code2Wav: codec frames to 24 kHz samples, streaming with state: what it gives for a sequence does
// not depend on how its frames are cut into steps, bit by bit.
//
// The first frame gives fewer samples than the others: every transposed convolution overlaps two
// input rows, so n frames give n * samples_per_frame - (a constant), as in the reference's one
// shot. Payload in: "codes" [n, num_quantizers] I32, frame-major. Thread: the stage's replica
// thread.
#pragma once

#include <memory>

#include "models/generation_model.h"
#include "models/qwen3_omni_moe/code2wav_network.h"

namespace tutti::qwen3_omni_moe {

struct Code2WavSequence final : GenerationSequence {
  std::vector<int32_t> codes;  // frames that have arrived, from `next` on not computed
  int64_t next = 0;            // index into codes of the first frame that is not computed
  int64_t position = 0;        // frames computed so far
  bool complete = false;
  std::vector<Tensor> keys;  // per layer [ring_blocks, heads, block_size, head_dim]
  std::vector<Tensor> values;
  Code2WavTails tails;
};

class Code2Wav final : public GenerationModel {
 public:
  // Takes the network; the loader has finished. `fade_in_s`: GenerationModelInfo's.
  Code2Wav(const Code2WavConfig& config, Code2WavNetwork network, double fade_in_s = 0);

  const GenerationModelInfo& info() const override { return info_; }
  Result<std::unique_ptr<GenerationSequence>> start(const StageInput& input) override;
  // Errors: codes of another shape or outside the codebook.
  Status append(GenerationSequence& sequence, StagePayload payload, bool last) override;
  int64_t pending_frames(const GenerationSequence& sequence) const override;
  bool input_complete(const GenerationSequence& sequence) const override;
  void run(OpContext& ctx, std::span<Work> work) override;
  void set_probe(Probe probe) override { probe_ = std::move(probe); }

 private:
  // One sequence's part of a batched pass.
  struct Item {
    Code2WavSequence* sequence;
    Work* work;
    int64_t first_row;  // of the packed rows
    int64_t frames;
  };
  // A signal per sequence; sequences without rows are left out.
  struct Signal {
    const Item* item;
    Tensor rows;  // [T, channels]
  };
  using Signals = std::vector<Signal>;

  void run_pass(OpContext& ctx, std::span<Work> work);
  Tensor embed(OpContext& ctx, std::span<const Item> items, int64_t rows) const;
  void pre_transformer(OpContext& ctx, std::span<const Item> items, const Tensor& x) const;
  Signals upsample(OpContext& ctx, size_t stage, const Signals& in) const;
  void convnext(OpContext& ctx, const ConvNeXtBlock& block, size_t stage, const Tensor& packed,
                const Signals& signals) const;
  Signals decode_block(OpContext& ctx, size_t index, const Signals& in) const;
  void residual_unit(OpContext& ctx, const ResidualUnit& unit, size_t block, size_t index,
                     const Signals& signals) const;
  void finish(OpContext& ctx, const Signals& in) const;

  Code2WavConfig config_;
  Code2WavNetwork net_;
  GenerationModelInfo info_;
  int64_t ring_blocks_ = 0;
  Probe probe_;
};

}  // namespace tutti::qwen3_omni_moe
