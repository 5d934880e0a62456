#include "models/qwen3_omni_moe/generation_defaults.h"

#include <boost/json.hpp>

#include "base/json_file.h"
#include "models/config_reader.h"

namespace tutti::qwen3_omni_moe {

namespace {

// The defaults of Qwen3OmniMoeForConditionalGeneration.generate().
GenerationDefaults reference_defaults(const Config& config) {
  GenerationDefaults d;
  d.eos_token_ids = {static_cast<int32_t>(config.im_end_token_id)};
  d.thinker.temperature = 0;
  d.thinker.max_tokens = 1024;
  d.talker.temperature = 0.9f;
  d.talker.top_k = 50;
  d.talker.top_p = 1.0f;
  d.talker.repetition_penalty = 1.05f;
  d.talker.max_tokens = 4096;
  return d;
}

// Reads prefix + "temperature" and the others; do_sample false is greedy.
void read_sampling(const ConfigReader& reader, const std::string& prefix, bool samples,
                   SamplingParams& params) {
  const float fallback = params.temperature > 0 ? params.temperature : 1.0f;
  params.top_k = static_cast<int32_t>(reader.integer(prefix + "top_k", params.top_k));
  params.top_p = static_cast<float>(reader.number(prefix + "top_p", params.top_p));
  params.min_p = static_cast<float>(reader.number(prefix + "min_p", params.min_p));
  params.repetition_penalty =
      static_cast<float>(reader.number(prefix + "repetition_penalty", params.repetition_penalty));
  samples = reader.boolean(prefix + "do_sample", samples || reader.has(prefix + "temperature"));
  params.temperature =
      samples ? static_cast<float>(reader.number(prefix + "temperature", fallback)) : 0.0f;
}

// Fields that have a value of the file's.
std::vector<std::string> given_fields(const ConfigReader& reader, const std::string& prefix,
                                      std::initializer_list<const char*> max_tokens_keys) {
  std::vector<std::string> fields;
  for (const char* field : {"top_k", "top_p", "min_p", "repetition_penalty", "temperature"}) {
    if (reader.has(prefix + field)) fields.emplace_back(field);
  }
  if (!reader.has(prefix + "temperature") && reader.has(prefix + "do_sample")) {
    fields.emplace_back("temperature");
  }
  for (const char* key : max_tokens_keys) {
    if (reader.has(key)) fields.emplace_back("max_tokens");
  }
  return fields;
}

void read_max_tokens(const ConfigReader& reader, const std::string& key, SamplingParams& params) {
  params.max_tokens = static_cast<int32_t>(reader.positive(key, params.max_tokens));
}

}  // namespace

Result<GenerationDefaults> read_generation_defaults(const std::filesystem::path& model_dir,
                                                    const Config& config) {
  GenerationDefaults d = reference_defaults(config);
  const auto path = model_dir / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return d;
  TUTTI_ASSIGN_OR_RETURN(const boost::json::object root, read_json_object(path));
  Status status;
  const ConfigReader reader(root, path.string(), "", status);
  if (reader.has("eos_token_id")) {
    d.eos_token_ids.clear();
    for (int64_t id : reader.integer_or_list("eos_token_id")) {
      if (id < 0 || id >= config.thinker.text.vocab_size) {
        reader.fail("eos_token_id", "token ids of the vocabulary");
      }
      d.eos_token_ids.push_back(static_cast<int32_t>(id));
    }
  }
  read_sampling(reader, "", false, d.thinker);
  read_sampling(reader, "talker_", true, d.talker);
  read_max_tokens(reader, "max_new_tokens", d.thinker);
  read_max_tokens(reader, "thinker_max_new_tokens", d.thinker);
  read_max_tokens(reader, "talker_max_new_tokens", d.talker);
  constexpr double kMostFadeIn_ms = 100;
  const double fade_in_ms = reader.number("code2wav_fade_in_ms", 0.0);
  if (!(fade_in_ms >= 0 && fade_in_ms <= kMostFadeIn_ms)) {
    reader.fail("code2wav_fade_in_ms", "milliseconds from 0 to 100");
  }
  d.fade_in_s = fade_in_ms / 1000;
  d.thinker_given = given_fields(reader, "", {"max_new_tokens", "thinker_max_new_tokens"});
  d.talker_given = given_fields(reader, "talker_", {"talker_max_new_tokens"});
  TUTTI_RETURN_IF_ERROR(status);
  TUTTI_RETURN_IF_ERROR(d.thinker.validate());
  TUTTI_RETURN_IF_ERROR(d.talker.validate());
  return d;
}

}  // namespace tutti::qwen3_omni_moe
