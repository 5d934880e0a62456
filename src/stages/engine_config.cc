#include "stages/engine_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "stages/deploy_schema.h"
#include "stages/option_bindings.h"

namespace tutti {

namespace {

constexpr const char* kDefault = "default";
constexpr const char* kOption = "option";
constexpr const char* kCheckpoint = "generation_config.json";
constexpr const char* kSampling = "default_sampling_params";

// An error about a value, of which `setting` says where it stands.
Status about(const Setting* setting, Status status) {
  if (setting == nullptr || status.ok()) return status;
  const std::string& origin = setting->origin;
  const bool of_caller = origin == kOption || origin.starts_with("--");
  if (of_caller || origin == kDefault || origin == kCheckpoint) return status;
  return std::move(status).with_context(origin).with_param("");
}

class Resolver {
 public:
  Resolver(const EngineOptions& given, const Pipeline& pipeline)
      : given_(given), pipeline_(pipeline) {
    out_.options = given;
    for (const StageSpec& spec : pipeline.stages()) out_.stage_names.push_back(spec.model_stage);
    target_.stage_names = out_.stage_names;
    out_.stages.resize(out_.stage_names.size());
    file_.stages.resize(out_.stages.size());
  }

  Result<EngineConfig> resolve();

 private:
  Status check_given() const;
  void resolve_engine();
  void resolve_stage(size_t s);
  Setting engine_setting(const OptionBinding<EngineOptions>& binding) const;
  Setting stage_setting(const OptionBinding<StageOptions>& binding, size_t s) const;
  void resolve_sampling(size_t s);
  void carry_over(size_t s);
  Status check_range(const Settings& settings, uint8_t where) const;
  Status check_stage(size_t s) const;
  Status check_connectors(size_t s) const;
  std::string describe(size_t s) const {
    return fmt::format("stage {} ({})", s, out_.stage_names[s]);
  }

  const EngineOptions& given_;
  const Pipeline& pipeline_;
  DeployTarget target_;
  DeployConfig file_;
  DeployConfig overrides_;
  EngineConfig out_;
};

const Setting* find(const Settings& settings, std::string_view key) {
  const auto found = settings.find(key);
  return found == settings.end() ? nullptr : &found->second;
}

// Set by the caller: another value than the default's, or named in option_origins.
std::optional<Setting> given_setting(const OptionBinding<EngineOptions>& binding,
                                     const EngineOptions& given) {
  static const EngineOptions defaults;
  const auto origin = given.option_origins.find(std::string(binding.key));
  const bool named = origin != given.option_origins.end();
  std::string value = binding.get(given);
  if (!named && value == binding.get(defaults)) return std::nullopt;
  return Setting{std::move(value), named ? origin->second : kOption, {}};
}

Setting Resolver::engine_setting(const OptionBinding<EngineOptions>& binding) const {
  if (auto set = given_setting(binding, given_)) return *set;
  if (const Setting* set = find(file_.pipeline, binding.key)) return *set;
  return {binding.get(EngineOptions()), kDefault, {}};
}

void Resolver::resolve_engine() {
  for (const auto& binding : engine_bindings()) {
    Setting setting = engine_setting(binding);
    binding.set(out_.options, setting.value);
    const bool per_stage = find_deploy_key(binding.key, kPerStage) != nullptr;
    if (!per_stage || binding.key == "async_chunk") {
      out_.pipeline.emplace(binding.key, std::move(setting));
    }
  }
  for (const auto& [key, setting] : file_.pipeline) {
    if (find_engine_binding(key) == nullptr) out_.pipeline.emplace(key, setting);
  }
}

Setting Resolver::stage_setting(const OptionBinding<StageOptions>& binding, size_t s) const {
  static const StageOptions defaults;
  // The whole engine's limit is about prompts and answers, not about what stages make of them.
  const bool inherits = binding.key != "max_model_len" || pipeline_.stages()[s].sources.empty();
  const OptionBinding<EngineOptions>* whole = inherits ? find_engine_binding(binding.key) : nullptr;
  if (const Setting* set = find(overrides_.stages[s], binding.key)) return *set;
  if (s < given_.stages.size() && binding.get(given_.stages[s]) != binding.get(defaults)) {
    return {binding.get(given_.stages[s]), kOption, {}};
  }
  if (given_.worker_processes && binding.key == "worker_process") return {"true", kOption, {}};
  if (whole != nullptr) {
    if (auto set = given_setting(*whole, given_)) return *set;
  }
  if (const Setting* set = find(file_.stages[s], binding.key)) return *set;
  if (whole != nullptr) {
    if (const Setting* set = find(file_.pipeline, binding.key)) return *set;
    return {whole->get(EngineOptions()), kDefault, {}};
  }
  return {binding.get(defaults), kDefault, {}};
}

void Resolver::resolve_stage(size_t s) {
  StageOptions& options = out_.options.stages[s];
  Settings& settings = out_.stages[s];
  for (const auto& binding : stage_bindings()) {
    Setting setting = stage_setting(binding, s);
    // A share of the memory stands in for the default size, not for one that was asked for.
    const bool by_share = binding.key == "kv_cache_memory_bytes" && setting.origin == kDefault &&
                          options.gpu_memory_utilization.has_value();
    if (by_share) setting = {"", kDefault, "by gpu_memory_utilization"};
    if (binding.key == "max_model_len" && setting.value.empty()) setting.note = "the model's own";
    binding.set(options, setting.value);
    settings.emplace(binding.key, std::move(setting));
  }
  if (!settings["gpu_memory_utilization"].value.empty()) return;
  settings.erase("gpu_memory_utilization");
}

void Resolver::resolve_sampling(size_t s) {
  const StageSpec& spec = pipeline_.stages()[s];
  SamplingParams params = spec.default_sampling_params;
  const bool given = !given_.default_sampling_params_list.empty();
  for (const auto& binding : sampling_bindings()) {
    const std::string key = fmt::format("{}.{}", kSampling, binding.key);
    const bool published = std::ranges::find(spec.sampling_from_checkpoint, binding.key) !=
                           spec.sampling_from_checkpoint.end();
    Setting setting{binding.get(params), published ? kCheckpoint : kDefault, {}};
    if (const Setting* set = find(file_.stages[s], key)) setting = *set;
    if (given) {
      std::string value = binding.get(given_.default_sampling_params_list[s]);
      if (value != setting.value) setting = {std::move(value), kOption, {}};
    }
    if (const Setting* set = find(overrides_.stages[s], key)) setting = *set;
    binding.set(params, setting.value);
    const bool empty = setting.value == "[]" || setting.value == "{}";
    if (!setting.value.empty() && !empty) out_.stages[s].emplace(key, std::move(setting));
  }
  out_.options.default_sampling_params_list.push_back(std::move(params));
}

// Keys that are no options: connectors, and what changes nothing.
void Resolver::carry_over(size_t s) {
  for (const DeployConfig* config : {&overrides_, &file_}) {
    for (const auto& [key, setting] : config->stages[s]) out_.stages[s].emplace(key, setting);
  }
}

Status Resolver::check_range(const Settings& settings, uint8_t where) const {
  for (const auto& [key, setting] : settings) {
    const DeployKey* known = find_deploy_key(key, where);
    if (known == nullptr || setting.value.empty()) continue;
    TUTTI_RETURN_IF_ERROR(check_deploy_value(*known, setting.value));
  }
  return {};
}

Status Resolver::check_given() const {
  const size_t stages = out_.stage_names.size();
  if (given_.stages.size() > stages) {
    return invalid_argument(fmt::format("`stages` has {} entries; this model has {} stages.",
                                        given_.stages.size(), stages))
        .with_param("stages");
  }
  const size_t params = given_.default_sampling_params_list.size();
  if (params != 0 && params != stages) {
    return invalid_argument(fmt::format("`default_sampling_params_list` has {} entries; this model "
                                        "has {} stages.",
                                        params, stages))
        .with_param("default_sampling_params_list");
  }
  return {};
}

Status Resolver::check_connectors(size_t s) const {
  const auto& sources = pipeline_.stages()[s].sources;
  for (const auto& [key, setting] : out_.stages[s]) {
    const bool input = key.starts_with("input_connectors.");
    if (!input && !key.starts_with("output_connectors.")) continue;
    std::vector<std::string> names;
    for (const auto& [name, connector] : out_.pipeline) {
      const bool named = name.starts_with("connectors.") && name.find('.', 11) == std::string::npos;
      if (named) names.push_back(name.substr(11));
    }
    const std::string where = fmt::format("{}: `{}` of {}", setting.origin, key, describe(s));
    if (std::ranges::find(names, setting.value) == names.end()) {
      const std::string near = nearest(setting.value, names);
      return invalid_argument(fmt::format(
          "{} is '{}', which `connectors` does not have; {}", where, setting.value,
          near.empty() ? fmt::format("it has: {}.", names.empty() ? "none" : join(names))
                       : fmt::format("did you mean '{}'?", near)));
    }
    const int32_t other = std::stoi(key.substr(key.rfind('_') + 1));
    const auto here = static_cast<int32_t>(s);
    const auto& from = input ? sources : pipeline_.stages()[other].sources;
    if (std::ranges::find(from, input ? other : here) == from.end()) {
      return invalid_argument(
          fmt::format("{} names an edge that this model does not have.", where));
    }
  }
  return {};
}

Status Resolver::check_stage(size_t s) const {
  TUTTI_RETURN_IF_ERROR(check_range(out_.stages[s], kPerStage));
  const Settings& settings = out_.stages[s];
  if (const Setting* chunks = find(settings, "async_chunk")) {
    const Setting& whole = out_.pipeline.at("async_chunk");
    if (chunks->value != whole.value) {
      return invalid_argument(
          fmt::format("{}: `async_chunk` of {} is {}; all stages stream or none does, and "
                      "`async_chunk` of the pipeline is {} ({}).",
                      chunks->origin, describe(s), chunks->value, whole.value, whole.origin));
    }
  }
  const Setting& devices = settings.at("devices");
  if (devices.value != "cpu") {
    return invalid_argument(fmt::format("{}: `devices` of {} is {}; this program runs on: cpu.",
                                        devices.origin, describe(s), devices.value))
        .with_param("devices");
  }
  Status status = out_.options.default_sampling_params_list[s].validate();
  if (!status.ok()) {
    const Setting* wrong = find(settings, fmt::format("{}.{}", kSampling, status.param()));
    return about(wrong,
                 std::move(status).with_context("Default sampling parameters of " + describe(s)));
  }
  return check_connectors(s);
}

Result<EngineConfig> Resolver::resolve() {
  TUTTI_RETURN_IF_ERROR(check_given());
  if (!given_.deploy_config.empty()) {
    TUTTI_ASSIGN_OR_RETURN(file_, read_deploy_file(given_.deploy_config, target_));
  }
  TUTTI_ASSIGN_OR_RETURN(overrides_, read_stage_overrides(given_.stage_overrides, target_));
  resolve_engine();
  TUTTI_RETURN_IF_ERROR(check_range(out_.pipeline, kTopLevel));
  if (const Setting* name = find(out_.pipeline, "pipeline")) {
    if (name->value != pipeline_.family()) {
      return invalid_argument(fmt::format("{}: `pipeline` is '{}'; this model's is '{}'.",
                                          name->origin, name->value, pipeline_.family()));
    }
  }
  out_.options.stages.assign(out_.stages.size(), {});
  out_.options.default_sampling_params_list.clear();
  for (size_t s = 0; s < out_.stages.size(); ++s) {
    resolve_stage(s);
    resolve_sampling(s);
    carry_over(s);
  }
  for (size_t s = 0; s < out_.stages.size(); ++s) TUTTI_RETURN_IF_ERROR(check_stage(s));
  // What is derived from the whole engine's size follows the largest stage.
  out_.options.max_num_seqs = 1;
  for (const StageOptions& stage : out_.options.stages) {
    out_.options.max_num_seqs = std::max(out_.options.max_num_seqs, *stage.max_num_seqs);
  }
  return std::move(out_);
}

// --- as YAML

// Settings of one level as lines; keys with dots become nested mappings.
class YamlWriter {
 public:
  explicit YamlWriter(std::string indent) : indent_(std::move(indent)) {}

  void add(const std::string& key, const Setting& setting) {
    std::vector<std::string> path;
    for (size_t begin = 0; begin <= key.size();) {
      const size_t dot = std::min(key.find('.', begin), key.size());
      path.push_back(key.substr(begin, dot - begin));
      begin = dot + 1;
    }
    // A connector is a mapping of its own: its class is the value of `name`.
    if (path[0] == "connectors" && path.size() == 2) path.emplace_back("name");
    size_t common = 0;
    while (common + 1 < path.size() && common < open_.size() && open_[common] == path[common]) {
      ++common;
    }
    open_.resize(common);
    for (; common + 1 < path.size(); ++common) {
      text_ += line_start(common) + path[common] + ":\n";
      open_.push_back(path[common]);
    }
    std::string line = line_start(open_.size()) + path.back() + ": " +
                       (setting.value.empty() ? "null" : setting.value);
    constexpr size_t kCommentColumn = 44;
    line.resize(std::max(line.size(), kCommentColumn), ' ');
    text_ +=
        line + "  # " + setting.origin + (setting.note.empty() ? "" : "; " + setting.note) + "\n";
  }
  const std::string& text() const { return text_; }

 private:
  std::string line_start(size_t depth) const { return indent_ + std::string(2 * depth, ' '); }

  std::string indent_;
  std::vector<std::string> open_;
  std::string text_;
};

}  // namespace

Result<EngineConfig> resolve_engine_config(const EngineOptions& given, const Pipeline& pipeline) {
  return Resolver(given, pipeline).resolve();
}

Status at_origin(const EngineConfig& config, Status status) {
  const Setting* setting = find(config.pipeline, status.param());
  return about(setting, std::move(status));
}

Status set_engine_option(EngineOptions& options, const std::string& key, const std::string& text,
                         const std::string& origin) {
  const DeployKey* known = find_deploy_key(key, kTopLevel);
  const std::string name(known == nullptr ? key : known->name);
  auto value = read_deploy_value(key, text);
  if (!value.ok()) return std::move(value).error().with_param(name);
  const OptionBinding<EngineOptions>* binding = find_engine_binding(name);
  if (binding == nullptr) {
    return invalid_argument(fmt::format("`{}` is no option of the engine.", name)).with_param(name);
  }
  binding->set(options, *value);
  options.option_origins[name] = origin;
  return {};
}

std::string engine_config_yaml(const EngineConfig& config) {
  YamlWriter top("");
  for (const auto& [key, setting] : config.pipeline) top.add(key, setting);
  std::string text = top.text() + "stages:\n";
  for (size_t s = 0; s < config.stages.size(); ++s) {
    text += fmt::format("  - stage_id: {}  # {}\n", s, config.stage_names[s]);
    YamlWriter stage("    ");
    for (const auto& [key, setting] : config.stages[s]) stage.add(key, setting);
    text += stage.text();
  }
  return text;
}

}  // namespace tutti
