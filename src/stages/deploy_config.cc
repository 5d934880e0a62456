#include "stages/deploy_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "stages/deploy_reader.h"

namespace tutti {

namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kMostBytes = 1 << 20;  // of a file
constexpr const char* kOverrides = "--stage-overrides";

DeployConfig empty_config(const DeployTarget& target) {
  return {.pipeline = {}, .stages = std::vector<Settings>(target.stage_names.size())};
}

// yaml-cpp throws; this is its wrapper.
Result<YAML::Node> parse_yaml(const std::string& text, const DeployReader& reader) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      return reader.fail(documents[1], "a second document begins; allowed is one.");
    }
    return documents.empty() ? YAML::Node() : documents[0];
  } catch (const YAML::Exception& error) {
    const std::string where = reader.place(error.mark);
    return invalid_argument(
        fmt::format("{}{}this is not YAML: {}.", where, where.empty() ? "" : ": ", error.msg));
  }
}

Result<std::string> read_text(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    return not_found(fmt::format("Deploy file '{}' does not exist.", path));
  }
  if (!fs::is_regular_file(path, ignored)) {
    return invalid_argument(fmt::format("Deploy file '{}' is no regular file.", path));
  }
  const uintmax_t bytes = fs::file_size(path, ignored);
  if (bytes > kMostBytes) {
    return invalid_argument(fmt::format("Deploy file '{}' has {} bytes; allowed are up to {}.",
                                        path, bytes, kMostBytes));
  }
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  if (!in.good()) {
    return invalid_argument(fmt::format("Deploy file '{}' cannot be read.", path));
  }
  return text.str();
}

// A file and the platform's section of it, each over those of its base.
Status read_chain(const std::string& path, const DeployTarget& target,
                  std::vector<std::string>& chain, DeployConfig& plain, DeployConfig& platform) {
  std::error_code ignored;
  const std::string identity = fs::weakly_canonical(path, ignored).string();
  const bool cycle = std::ranges::find(chain, identity) != chain.end();
  chain.push_back(identity);
  if (cycle) {
    return invalid_argument(
        fmt::format("`base_config` goes round in a circle: {}.", join(chain, " -> ")));
  }
  TUTTI_ASSIGN_OR_RETURN(const std::string text, read_text(path));
  const DeployReader reader(path, true, target);
  TUTTI_ASSIGN_OR_RETURN(const YAML::Node root, parse_yaml(text, reader));
  DeployConfig own = empty_config(target);
  DeployConfig own_platform = empty_config(target);
  std::string base;
  TUTTI_RETURN_IF_ERROR(reader.read_document(root, own, own_platform, base));
  if (!base.empty()) {
    const std::string base_path = (fs::path(path).parent_path() / base).string();
    if (!fs::exists(base_path, ignored)) {
      return reader.fail(
          root["base_config"],
          fmt::format("`base_config` is {}, but there is no file '{}'.", base, base_path));
    }
    TUTTI_RETURN_IF_ERROR(read_chain(base_path, target, chain, plain, platform));
  }
  plain.overlay(own);
  platform.overlay(own_platform);
  return {};
}

Result<int32_t> find_stage(const std::string& name, const DeployTarget& target) {
  const auto& names = target.stage_names;
  const auto found = std::ranges::find(names, name);
  if (found != names.end()) return static_cast<int32_t>(found - names.begin());
  int32_t id = -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data(), end, id);
  if (parsed.ec == std::errc() && parsed.ptr == end && id >= 0 &&
      id < static_cast<int32_t>(names.size())) {
    return id;
  }
  const std::string near = nearest(name, names);
  return invalid_argument(fmt::format(
      "{}: '{}' names no stage; {}this model has 0 to {} ({}).", kOverrides, name,
      near.empty() ? "" : fmt::format("did you mean '{}'? ", near), names.size() - 1, join(names)));
}

// "0.default_sampling_params.top_k=5": the rest of the key nests.
Status read_assignment(const std::string& text, const DeployReader& reader,
                       const DeployTarget& target, DeployConfig& out) {
  const size_t equals = text.find('=');
  const size_t dot = text.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals) {
    return invalid_argument(fmt::format(
        "{}: '{}' is neither STAGE.KEY=VALUE nor a JSON object of stages.", kOverrides, text));
  }
  const std::string stage_name = text.substr(0, dot);
  TUTTI_ASSIGN_OR_RETURN(const int32_t stage, find_stage(stage_name, target));
  TUTTI_ASSIGN_OR_RETURN(YAML::Node node, parse_yaml(text.substr(equals + 1), reader));
  std::string key = text.substr(dot + 1, equals - dot - 1);
  for (size_t last = key.rfind('.'); last != std::string::npos; last = key.rfind('.')) {
    YAML::Node outer;
    outer[key.substr(last + 1)] = node;
    node = outer;
    key.resize(last);
  }
  YAML::Node map;
  map[key] = node;
  return reader.read_stage_keys(map, stage_name, out.stages[stage]);
}

Status read_json_override(const std::string& text, const DeployReader& reader,
                          const DeployTarget& target, DeployConfig& out) {
  // JSON is YAML, too.
  TUTTI_ASSIGN_OR_RETURN(const YAML::Node root, parse_yaml(text, reader));
  if (!root.IsMap()) {
    return invalid_argument(fmt::format("{}: '{}' is not a JSON object.", kOverrides, text));
  }
  for (const auto& item : root) {
    const std::string name = item.first.IsScalar() ? item.first.Scalar() : "";
    TUTTI_ASSIGN_OR_RETURN(const int32_t stage, find_stage(name, target));
    TUTTI_RETURN_IF_ERROR(reader.read_stage_keys(item.second, name, out.stages[stage]));
  }
  return {};
}

Status as_flag_error(Status status) {
  return status.ok() ? std::move(status) : std::move(status).with_param("stage_overrides");
}

}  // namespace

void DeployConfig::overlay(const DeployConfig& above) {
  for (const auto& [key, setting] : above.pipeline) pipeline[key] = setting;
  for (size_t s = 0; s < above.stages.size(); ++s) {
    for (const auto& [key, setting] : above.stages[s]) stages[s][key] = setting;
  }
}

Result<DeployConfig> read_deploy_file(const std::string& path, const DeployTarget& target) {
  DeployConfig plain = empty_config(target);
  DeployConfig platform = empty_config(target);
  std::vector<std::string> chain;
  TUTTI_RETURN_IF_ERROR(read_chain(path, target, chain, plain, platform));
  plain.overlay(platform);
  return plain;
}

Result<DeployConfig> read_stage_overrides(std::span<const std::string> overrides,
                                          const DeployTarget& target) {
  const DeployReader reader(kOverrides, false, target);
  DeployConfig out = empty_config(target);
  for (const std::string& text : overrides) {
    const size_t first = text.find_first_not_of(" \t\n");
    const bool json = first != std::string::npos && text[first] == '{';
    TUTTI_RETURN_IF_ERROR(as_flag_error(json ? read_json_override(text, reader, target, out)
                                             : read_assignment(text, reader, target, out)));
  }
  return out;
}

Result<std::string> read_deploy_value(const std::string& key, const std::string& text) {
  const DeployTarget target;
  const DeployReader reader("", false, target);
  TUTTI_ASSIGN_OR_RETURN(const YAML::Node value, parse_yaml(text, reader));
  YAML::Node map;
  map[key] = value;
  DeployConfig config = empty_config(target);
  DeployConfig platform = empty_config(target);
  std::string base;
  TUTTI_RETURN_IF_ERROR(reader.read_document(map, config, platform, base));
  return config.pipeline.empty() ? std::string() : config.pipeline.begin()->second.value;
}

}  // namespace tutti
