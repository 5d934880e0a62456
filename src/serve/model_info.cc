#include "serve/model_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/strings.h"
#include "serve/api_error.h"

namespace tutti::serve {

ModelInfo::ModelInfo(AsyncOmniEngine& engine, std::vector<std::string> served_names)
    : engine_(engine), names_(std::move(served_names)), created_(std::time(nullptr)) {
  for (int32_t s = 0; s < engine_.num_stages(); ++s) {
    const StageRuntimeInfo& stage = engine_.stage_metadata()[s];
    if (stage.final_output_type == "text") text_stage_ = s;
    if (stage.final_output_type == "audio") audio_stage_ = s;
  }
  for (const std::string& voice : engine_.voices()) voices_[ascii_lower(voice)] = voice;
}

Status ModelInfo::set_voice_aliases(const std::map<std::string, std::string>& aliases) {
  for (const auto& [alias, name] : aliases) {
    const std::optional<std::string> known = voice(name);
    if (!known) {
      return invalid_argument(fmt::format("--voice-alias is '{}={}'; this model has: {}.", alias,
                                          name, join(engine_.voices())))
          .with_param("voice-alias");
    }
    if (!voices_.emplace(ascii_lower(alias), *known).second) {
      return invalid_argument(
                 fmt::format("--voice-alias is '{}={}'; there is a voice '{}' already.", alias,
                             name, alias))
          .with_param("voice-alias");
    }
  }
  return {};
}

std::optional<std::string> ModelInfo::voice(std::string_view name) const {
  const auto found = voices_.find(ascii_lower(name));
  return found == voices_.end() ? std::nullopt : std::optional(found->second);
}

bool ModelInfo::is_own_name(std::string_view model) const {
  return std::find(names_.begin(), names_.end(), model) != names_.end();
}

std::optional<LoraRequest> ModelInfo::adapter(std::string_view model) const {
  return is_own_name(model) ? std::nullopt : adapters_.find(model);
}

Status ModelInfo::check_model(std::string_view model) const {
  if (is_own_name(model)) return {};
  std::vector<std::string> known = names_;
  for (const LoraRequest& adapter : adapters_.all()) {
    if (adapter.lora_name == model) return {};
    known.push_back(adapter.lora_name);
  }
  return not_found(fmt::format("The model '{}' is not served here; there is: {}.", printable(model),
                               join(known)))
      .with_param("model");
}

}  // namespace tutti::serve
