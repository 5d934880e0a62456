// VisionTower: flattened patches of pictures and clips to rows of the thinker's width, one for each
// merge square, and as many further rows for DeepStack, taken behind some of the blocks.
//
// Patches lie in the order of the merge squares. Position embeddings are bilinear samples of a
// learned square grid; rotary positions are row and column; a frame's patches attend to each other.
// All as Qwen3OmniMoeVisionEncoder of transformers.
// Thread: immutable; any thread. Invariant: an item's rows do not depend on the others.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "layers/encoder_block.h"
#include "models/probe.h"
#include "models/qwen3_omni_moe/config.h"
#include "weights/weight_loader.h"

namespace tutti::qwen3_omni_moe {

class VisionTower {
 public:
  struct Item {
    Tensor patches;                        // [t * h * w, patch_elements] F32
    std::array<int64_t, 3> grid_thw = {};  // h and w are multiples of the merge size
  };
  struct Output {
    Tensor embeds;                  // [patches / merge unit of all items, out_hidden_size]
    std::vector<Tensor> deepstack;  // the same, one for each deepstack index
  };

  // "thinker.visual....".
  static VisionTower load(WeightLoader& weights, const VisionConfig& config);

  // Fills `out`. Probes: "NAME.layer.N", "NAME.embeds", "NAME.deepstack.J".
  void forward(OpContext& ctx, std::span<const Item> items, const Output& out,
               const std::string& name, const Probe& probe) const;
  size_t num_deepstack() const { return deepstack_mergers_.size(); }

 private:
  struct Merger {
    LayerNorm norm;
    bool norm_after_merge = false;
    Linear fc1;
    Linear fc2;

    void forward(OpContext& ctx, const Tensor& x, const Tensor& out) const;
  };
  static Merger load_merger(WeightLoader& weights, const std::string& prefix,
                            const VisionConfig& config, bool norm_after_merge);
  Tensor position_embeddings(OpContext& ctx, std::span<const Item> items, int64_t patches) const;
  RotaryAngles angles(OpContext& ctx, std::span<const Item> items, int64_t patches) const;
  Segments frames(OpContext& ctx, std::span<const Item> items) const;

  VisionConfig config_;
  Linear patch_embed_;
  Tensor pos_embed_;  // [num_position_embeddings, hidden_size]
  Tensor inv_freq_;   // [head_dim / 2]
  Tensor axis_;       // [head_dim / 2]: 0 row, 1 column
  std::vector<EncoderBlock> blocks_;
  Merger merger_;
  std::vector<Merger> deepstack_mergers_;
};

}  // namespace tutti::qwen3_omni_moe
