// What generation_config.json says: end tokens, sampling defaults of each stage, and how sound
// begins.
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
  // Of each answer's sound; an extension of the format, which the reference ignores.
  double fade_in_s = 0;  // "code2wav_fade_in_ms"
};

// A missing file, or missing keys, give the defaults of the reference's generate(). Errors name
// the key.
Result<GenerationDefaults> read_generation_defaults(const std::filesystem::path& model_dir,
                                                    const Config& config);

}  // namespace tutti::qwen3_omni_moe
