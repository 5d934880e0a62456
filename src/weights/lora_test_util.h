// Writes PEFT adapters for tests.
#pragma once

#include <string>

#include "weights/test_util.h"

namespace tutti::testing {

inline std::string peft_config(int64_t rank, double alpha, const std::string& more = "") {
  return R"({"peft_type":"LORA","r":)" + std::to_string(rank) + R"(,"lora_alpha":)" +
         std::to_string(alpha) + R"(,"target_modules":"all-linear","bias":"none")" +
         (more.empty() ? "" : "," + more) + "}";
}

// One module's pair of matrices under PEFT's names.
inline void add_module(NamedTensors& tensors, const std::string& module, const Tensor& a,
                       const Tensor& b) {
  tensors.emplace_back("base_model.model." + module + ".lora_A.weight", a);
  tensors.emplace_back("base_model.model." + module + ".lora_B.weight", b);
}

inline void write_adapter(const TempFolder& folder, const std::string& config,
                          const NamedTensors& tensors) {
  folder.write("adapter_config.json", config);
  folder.write("adapter_model.safetensors", safetensors_bytes(tensors));
}

}  // namespace tutti::testing
