// What generation_config.json says about sampling: end tokens and defaults of each stage.
#pragma once

#include <filesystem>
#include <vector>

#include "tutti/sampling_params.h"

#include "models/qwen3_omni_moe/config.h"

namespace tutti::qwen3_omni_moe {

struct GenerationDefaults {
  std::vector<int32_t> eos_token_ids;  // of the thinker
  SamplingParams thinker;
  SamplingParams talker;
  // Fields of these that the file has, by name.
  std::vector<std::string> thinker_given;
  std::vector<std::string> talker_given;
};

// A missing file, or missing keys, give the defaults of the reference's generate(). Errors name
// the key.
Result<GenerationDefaults> read_generation_defaults(const std::filesystem::path& model_dir,
                                                    const Config& config);

}  // namespace tutti::qwen3_omni_moe
