// PeftConfig: what Tutti needs of a PEFT adapter's adapter_config.json, and refuses of it.
//
// Thread: immutable after reading; any thread.
#pragma once

#include <filesystem>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tutti/status.h"

namespace tutti {

class PeftConfig {
 public:
  // Errors name the file, the key, what was found and what is allowed: other kinds of adapters
  // than LoRA, trained biases, whole modules, DoRA, and initialisations that change base weights.
  static Result<PeftConfig> read(const std::filesystem::path& path);

  // Of a module by its name in the trained model: `r` and `lora_alpha`, or what the first matching
  // key of rank_pattern and alpha_pattern says. A key matches a name that ends with it, at a dot.
  int64_t rank(std::string_view module) const;
  // lora_alpha / rank, or lora_alpha / sqrt(rank) with use_rslora (rank-stabilised LoRA).
  float scale(std::string_view module) const;

 private:
  using Patterns = std::vector<std::pair<std::regex, double>>;
  static double value_for(std::string_view module, const Patterns& patterns, double otherwise);

  int64_t rank_ = 0;
  double alpha_ = 0;
  bool use_rslora_ = false;
  Patterns rank_pattern_;
  Patterns alpha_pattern_;
};

}  // namespace tutti
