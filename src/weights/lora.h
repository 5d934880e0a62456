// LoRA adapters from PEFT directories: adapter_config.json and adapter_model.safetensors.
//
// Thread: free functions; any thread. Ownership: an adapter owns its matrices; the files are not
// needed any more.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tutti/status.h"

#include "ops/lora.h"

namespace tutti {

// A linear map that adapters may change.
struct LoraTarget {
  std::string name;  // of the module in the checkpoint: "thinker.model.layers.0.self_attn.q_proj"
  int64_t out_features = 0;
  int64_t in_features = 0;
};

// All such maps of one stage's network; a map's number is its index.
struct LoraTargets {
  std::vector<LoraTarget> maps;
  // What the names of this stage's modules begin with, and those of other stages that have maps.
  std::string own_prefix;
  std::vector<std::string> other_prefixes;
  // Stands before names that begin with none of these: adapters trained on a part alone.
  std::string default_prefix;

  // The number for a new map.
  int32_t add(std::string name, int64_t out_features, int64_t in_features) {
    maps.push_back({std::move(name), out_features, in_features});
    return static_cast<int32_t>(maps.size()) - 1;
  }
};

// What the adapter in `dir` changes of this stage; empty when all its modules are other stages'.
// Tensors are "base_model.model.MODULE.lora_A.weight" [rank, in] and "...lora_B.weight" [out,
// rank], F32, BF16 or F16. A module that takes no adapters is an error unless its lora_B is all
// zero, as of modules that training has never touched. Errors name the tensor, what was expected
// and what was found; a wrong target also the nearest known one.
Result<std::shared_ptr<const LoraAdapter>> read_lora(const std::filesystem::path& dir,
                                                     const LoraTargets& targets, int64_t max_rank);

}  // namespace tutti
