#include "weights/peft_config.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>

#include "weights/safetensors.h"

namespace tutti {

namespace json = boost::json;

namespace {

// Initialisations after which an adapter belongs to base weights of its own.
constexpr std::array<std::string_view, 4> kChangesBase = {"pissa", "olora", "corda", "loftq"};

// The keys of one file, with the sentence that tells what is wrong with one.
struct Keys {
  const json::object& object;
  std::string file;

  const json::value* find(std::string_view key) const {
    const json::value* value = object.if_contains(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  Status wrong(std::string_view key, const json::value& found, const std::string& allowed) const {
    return invalid_argument("'" + file + "': `" + std::string(key) + "` is " +
                            json::serialize(found) + "; " + allowed + ".");
  }
  // Absent, null, false, empty: off.
  Status must_be_off(std::string_view key, const std::string& why) const {
    const json::value* value = find(key);
    const auto is_empty = [](const json::value& v) {
      return (v.is_array() && v.get_array().empty()) || (v.is_object() && v.get_object().empty());
    };
    if (value == nullptr || (value->is_bool() && !value->get_bool()) || is_empty(*value)) return {};
    return wrong(key, *value, why);
  }
};

Result<double> positive_number(const Keys& keys, std::string_view key, const json::value& value) {
  const double number = value.is_number() ? value.to_number<double>() : -1;
  if (number > 0 && std::isfinite(number)) return number;
  return keys.wrong(key, value, "it must be a positive number");
}

Result<double> required_number(const Keys& keys, std::string_view key) {
  const json::value* value = keys.find(key);
  if (value == nullptr) {
    return invalid_argument("'" + keys.file + "' has no `" + std::string(key) +
                            "`; a positive number is required.");
  }
  return positive_number(keys, key, *value);
}

Status check_kind(const Keys& keys) {
  const json::value* type = keys.find("peft_type");
  if (type == nullptr || !type->is_string() || type->get_string() != "LORA") {
    return keys.wrong("peft_type", type == nullptr ? json::value() : *type, "it must be \"LORA\"");
  }
  const json::value* bias = keys.find("bias");
  if (bias != nullptr && !(bias->is_string() && bias->get_string() == "none")) {
    return keys.wrong("bias", *bias,
                      "adapters with trained biases are not supported, only \"none\"");
  }
  const json::value* init = keys.find("init_lora_weights");
  if (init != nullptr && init->is_string()) {
    const std::string_view name = init->get_string();
    for (const std::string_view changed : kChangesBase) {
      if (!name.starts_with(changed)) continue;
      return keys.wrong(
          "init_lora_weights", *init,
          "such an adapter changes the base weights; save it converted to plain LoRA");
    }
  }
  return {};
}

Status check_extras(const Keys& keys) {
  const std::pair<const char*, const char*> off[] = {
      {"use_dora", "DoRA is not supported, only plain LoRA"},
      {"use_qalora", "QALoRA is not supported, only plain LoRA"},
      {"lora_bias", "adapters with biases are not supported"},
      {"modules_to_save", "whole trained modules are not supported, only LoRA matrices"},
      {"target_parameters",
       "adapters of bare parameters are not supported, only of linear modules"},
      {"trainable_token_indices", "trained tokens are not supported, only LoRA matrices"},
      {"layer_replication", "replicated layers are not supported"},
      {"alora_invocation_tokens", "activated LoRA is not supported, only plain LoRA"},
      {"fan_in_fan_out", "weights stored as (fan_in, fan_out) are not supported"}};
  for (const auto& [key, why] : off) TUTTI_RETURN_IF_ERROR(keys.must_be_off(key, why));
  return {};
}

}  // namespace

Result<PeftConfig> PeftConfig::read(const std::filesystem::path& path) {
  TUTTI_ASSIGN_OR_RETURN(const auto bytes, map_file(path));
  boost::system::error_code error;
  const json::value root = json::parse(
      std::string_view(reinterpret_cast<const char*>(bytes->data()), bytes->bytes()), error);
  if (error || !root.is_object()) {
    return invalid_argument("'" + path.string() + "' is not a JSON object" +
                            (error ? " (" + error.message() + ")." : "."));
  }
  const Keys keys{root.get_object(), path.string()};
  TUTTI_RETURN_IF_ERROR(check_kind(keys));
  TUTTI_RETURN_IF_ERROR(check_extras(keys));
  PeftConfig config;
  TUTTI_ASSIGN_OR_RETURN(const double rank, required_number(keys, "r"));
  config.rank_ = static_cast<int64_t>(std::min(rank, 1e9));
  TUTTI_ASSIGN_OR_RETURN(config.alpha_, required_number(keys, "lora_alpha"));
  const json::value* rslora = keys.find("use_rslora");
  config.use_rslora_ = rslora != nullptr && rslora->is_bool() && rslora->get_bool();
  for (const auto& [key, patterns] : {std::pair{"rank_pattern", &config.rank_pattern_},
                                      std::pair{"alpha_pattern", &config.alpha_pattern_}}) {
    const json::value* value = keys.find(key);
    if (value == nullptr) continue;
    if (!value->is_object()) return keys.wrong(key, *value, "it must be an object of numbers");
    for (const auto& [pattern, number] : value->get_object()) {
      TUTTI_ASSIGN_OR_RETURN(const double n, positive_number(keys, key, number));
      try {
        patterns->emplace_back(std::regex("(?:.*\\.)?(?:" + std::string(pattern) + ")"), n);
      } catch (const std::regex_error&) {
        return keys.wrong(key, *value, "its keys must be module names or regular expressions");
      }
    }
  }
  return config;
}

double PeftConfig::value_for(std::string_view module, const Patterns& patterns, double otherwise) {
  const auto found = std::ranges::find_if(patterns, [&](const auto& pattern) {
    return std::regex_match(module.begin(), module.end(), pattern.first);
  });
  return found == patterns.end() ? otherwise : found->second;
}

int64_t PeftConfig::rank(std::string_view module) const {
  return static_cast<int64_t>(value_for(module, rank_pattern_, static_cast<double>(rank_)));
}

float PeftConfig::scale(std::string_view module) const {
  const double alpha = value_for(module, alpha_pattern_, alpha_);
  const auto r = static_cast<double>(rank(module));
  return static_cast<float>(alpha / (use_rslora_ ? std::sqrt(r) : r));
}

}  // namespace tutti
