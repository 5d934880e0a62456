#include "stages/deploy_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/strings.h"

namespace tutti {

namespace {

// Platforms of vLLM-Omni's files; sections of others than this build's do not apply.
const std::vector<std::string> kPlatforms = {"cpu", "cuda", "rocm", "npu", "xpu", "musa"};

std::string quoted(const YAML::Node& node) {
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a mapping";
  if (!node.IsScalar()) return "nothing";
  return node.Tag() == "!" ? "\"" + node.Scalar() + "\"" : node.Scalar();
}

template <typename T>
bool parse(std::string_view text, T& value) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end && !text.empty();
}

bool in_range(const DeployKey& key, double value) {
  return value >= key.low && value <= key.high && !(key.above_low && value == key.low);
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

std::string flow_text(const YAML::Node& node) {
  YAML::Emitter out;
  out.SetSeqFormat(YAML::Flow);
  out.SetMapFormat(YAML::Flow);
  out << node;
  return out.c_str();
}

std::string child(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

}  // namespace

std::string DeployReader::place(const YAML::Mark& mark) const {
  if (!has_lines_ || mark.is_null()) return source_;
  return fmt::format("{}:{}:{}", source_, mark.line + 1, mark.column + 1);
}

std::string DeployReader::origin(const YAML::Mark& mark) const {
  return has_lines_ ? fmt::format("{}:{}", source_, mark.line + 1) : source_;
}

Status DeployReader::fail(const YAML::Node& node, const std::string& sentence) const {
  const std::string where = place(node.Mark());
  return invalid_argument(where.empty() ? sentence : where + ": " + sentence);
}

Status DeployReader::not_allowed(const DeployKey& key, const Entry& entry) const {
  return fail(entry.value, fmt::format("`{}` is {}; allowed is {}.", entry.path,
                                       quoted(entry.value), allowed_values(key)));
}

Result<std::vector<DeployReader::Entry>> DeployReader::entries(const YAML::Node& map,
                                                               const std::string& path) const {
  const std::string what = path.empty() ? "the document" : "`" + path + "`";
  if (!map.IsMap()) {
    return fail(map, fmt::format("{} is {}; allowed is a mapping.", what, quoted(map)));
  }
  std::vector<Entry> out;
  std::set<std::string> seen;
  for (const auto& item : map) {
    if (!item.first.IsScalar()) {
      return fail(item.first,
                  fmt::format("a key of {} is {}; allowed are names.", what, quoted(item.first)));
    }
    const std::string& name = item.first.Scalar();
    if (!seen.insert(name).second) {
      return fail(item.first, fmt::format("`{}` stands twice.", child(path, name)));
    }
    out.push_back({item.first, item.second, name, child(path, name)});
  }
  return out;
}

Result<const DeployKey*> DeployReader::find_key(const Entry& entry, uint8_t where) const {
  if (const DeployKey* key = find_deploy_key(entry.name, where)) {
    if (!key->refused) return key;
    return fail(entry.key_node,
                fmt::format("`{}` cannot be honoured: {}. Remove the key.", entry.path, key->why));
  }
  if (where == kPerStage && find_deploy_key(entry.name, kTopLevel) != nullptr) {
    return fail(entry.key_node,
                fmt::format("`{}` is a key of the top level, not of a stage.", entry.path));
  }
  if (where == kTopLevel && find_deploy_key(entry.name, kPerStage) != nullptr) {
    return fail(entry.key_node,
                fmt::format("`{}` is a key of a stage, not of the top level.", entry.path));
  }
  const std::vector<std::string> names = deploy_key_names(where);
  const std::string near = nearest(entry.name, names);
  return fail(entry.key_node, fmt::format("`{}` is not a known key; {}", entry.path,
                                          near.empty() ? fmt::format("known are: {}.", join(names))
                                                       : fmt::format("did you mean `{}`?", near)));
}

Result<std::string> DeployReader::read_scalar(const DeployKey& key, const Entry& entry) const {
  if (!entry.value.IsScalar()) return not_allowed(key, entry);
  const std::string& text = entry.value.Scalar();
  switch (key.type) {
    case DeployType::kBool: {
      bool value = false;
      if (!YAML::convert<bool>::decode(entry.value, value)) return not_allowed(key, entry);
      return std::string(value ? "true" : "false");
    }
    case DeployType::kInt: {
      int64_t value = 0;
      if (!parse(text, value) || !in_range(key, static_cast<double>(value)))
        return not_allowed(key, entry);
      return std::to_string(value);
    }
    case DeployType::kNumber: {
      double value = 0;
      if (!parse(text, value) || !in_range(key, value)) return not_allowed(key, entry);
      return text;
    }
    case DeployType::kChoice:
      for (std::string_view rest = key.choices; !rest.empty();) {
        const size_t comma = rest.find(", ");
        if (rest.substr(0, comma) == text) return text;
        rest = comma == std::string_view::npos ? "" : rest.substr(comma + 2);
      }
      return not_allowed(key, entry);
    case DeployType::kDevices: {
      const std::string_view numbers =
          text.starts_with("cuda:") ? std::string_view(text).substr(5) : text;
      const bool cuda =
          !numbers.empty() && numbers.find_first_not_of("0123456789,") == std::string_view::npos;
      if (text == "cpu") return text;
      if (!cuda) return not_allowed(key, entry);
      return "cuda:" + std::string(numbers);
    }
    default:
      return text;
  }
}

Result<std::string> DeployReader::read_list(const DeployKey& key, const Entry& entry) const {
  const YAML::Node& node = entry.value;
  if (key.type == DeployType::kBiasMap) {
    if (!node.IsMap()) return not_allowed(key, entry);
    for (const auto& item : node) {
      int32_t id = 0;
      double bias = 0;
      const bool good = item.first.IsScalar() && item.second.IsScalar() &&
                        parse(item.first.Scalar(), id) && id >= 0 &&
                        parse(item.second.Scalar(), bias) && bias >= -100 && bias <= 100;
      if (!good) {
        return fail(item.first,
                    fmt::format("`{}` has {}: {}; allowed is {}.", entry.path, quoted(item.first),
                                quoted(item.second), allowed_values(key)));
      }
    }
    return flow_text(node);
  }
  if (key.type == DeployType::kTextList && node.IsScalar()) {
    YAML::Node list;
    list.push_back(node);
    return flow_text(list);
  }
  if (!node.IsSequence()) return not_allowed(key, entry);
  for (const YAML::Node& item : node) {
    int32_t id = 0;
    const bool good = item.IsScalar() &&
                      (key.type == DeployType::kTextList || (parse(item.Scalar(), id) && id >= 0));
    if (!good) {
      return fail(item, fmt::format("`{}` has {}; allowed is {}.", entry.path, quoted(item),
                                    allowed_values(key)));
    }
  }
  return flow_text(node);
}

Result<std::string> DeployReader::read_value(const DeployKey& key, const Entry& entry) const {
  const bool list = key.type == DeployType::kIntList || key.type == DeployType::kTextList ||
                    key.type == DeployType::kBiasMap;
  TUTTI_ASSIGN_OR_RETURN(std::string value, list ? read_list(key, entry) : read_scalar(key, entry));
  if (!key.only.empty() && value != key.only) {
    return fail(entry.value, fmt::format("`{}` is {}; only {} is possible: {}.", entry.path, value,
                                         key.only, key.why));
  }
  return value;
}

Status DeployReader::read_setting(const Entry& entry, uint8_t where, const std::string& prefix,
                                  Settings& out) const {
  TUTTI_ASSIGN_OR_RETURN(const DeployKey* key, find_key(entry, where));
  if (entry.value.IsNull()) return {};  // as if it were not there
  switch (key->type) {
    case DeployType::kStageKeys:
      return read_stage_keys(entry.value, entry.path, out);
    case DeployType::kConnectors:
      return read_connectors(entry, out);
    case DeployType::kEdges:
      return read_edges(*key, entry, out);
    case DeployType::kSampling: {
      TUTTI_ASSIGN_OR_RETURN(const std::vector<Entry> items, entries(entry.value, entry.path));
      for (const Entry& item : items) {
        TUTTI_RETURN_IF_ERROR(read_setting(item, kSamplingKey, std::string(key->name) + ".", out));
      }
      return {};
    }
    default:
      break;
  }
  TUTTI_ASSIGN_OR_RETURN(std::string value, read_value(*key, entry));
  out[prefix + std::string(key->name)] = {
      std::move(value), origin(entry.key_node.Mark()),
      key->only.empty() ? std::string(key->why) : std::string()};
  return {};
}

Status DeployReader::read_connectors(const Entry& entry, Settings& out) const {
  TUTTI_ASSIGN_OR_RETURN(const std::vector<Entry> connectors, entries(entry.value, entry.path));
  for (const Entry& connector : connectors) {
    if (!is_plain_name(connector.name)) {
      return fail(connector.key_node,
                  fmt::format("`{}` is no name of a connector; allowed are letters, digits, "
                              "underscores and hyphens.",
                              connector.path));
    }
    TUTTI_ASSIGN_OR_RETURN(const std::vector<Entry> parts,
                           entries(connector.value, connector.path));
    const std::string key = "connectors." + connector.name;
    for (const Entry& part : parts) {
      if (part.name == "name") {
        if (quoted(part.value) != "SharedMemoryConnector") {
          return fail(part.value, fmt::format("`{}` is {}; stages run on one host, so allowed is "
                                              "SharedMemoryConnector.",
                                              part.path, quoted(part.value)));
        }
        out[key] = {part.value.Scalar(), origin(part.key_node.Mark()), {}};
      } else if (part.name == "extra") {
        if (part.value.IsNull()) continue;
        TUTTI_ASSIGN_OR_RETURN(const std::vector<Entry> extras, entries(part.value, part.path));
        for (const Entry& extra : extras) {
          TUTTI_RETURN_IF_ERROR(read_setting(extra, kConnectorExtra, key + ".extra.", out));
        }
      } else {
        return fail(part.key_node,
                    fmt::format("`{}` is not a known key; known are: name, extra.", part.path));
      }
    }
  }
  return {};
}

// from_stage_N or to_stage_N to the name of a connector; that it exists is seen when all files are
// read.
Status DeployReader::read_edges(const DeployKey& key, const Entry& entry, Settings& out) const {
  const std::string prefix = key.name == "input_connectors" ? "from_stage_" : "to_stage_";
  TUTTI_ASSIGN_OR_RETURN(const std::vector<Entry> edges, entries(entry.value, entry.path));
  for (const Entry& edge : edges) {
    int32_t stage = -1;
    const bool known = edge.name.starts_with(prefix) &&
                       parse(std::string_view(edge.name).substr(prefix.size()), stage) &&
                       stage >= 0 && stage < static_cast<int32_t>(target_.stage_names.size());
    if (!known) {
      return fail(edge.key_node,
                  fmt::format("`{}` names no edge; allowed are {}0 to {}{}.", edge.path, prefix,
                              prefix, target_.stage_names.size() - 1));
    }
    if (!edge.value.IsScalar()) {
      return fail(edge.value, fmt::format("`{}` is {}; allowed is a name among `connectors`.",
                                          edge.path, quoted(edge.value)));
    }
    out[std::string(key.name) + "." + edge.name] = {
        edge.value.Scalar(), origin(edge.key_node.Mark()), {}};
  }
  return {};
}

Status DeployReader::read_stage_keys(const YAML::Node& map, const std::string& path, Settings& out,
                                     bool has_id) const {
  TUTTI_ASSIGN_OR_RETURN(const std::vector<Entry> items, entries(map, path));
  for (const Entry& item : items) {
    if (item.name == "stage_id") {
      if (has_id) continue;
      return fail(item.key_node,
                  fmt::format("`{}` cannot be set: it says which stage an entry of `stages` is of.",
                              item.path));
    }
    TUTTI_RETURN_IF_ERROR(read_setting(item, kPerStage, "", out));
  }
  return {};
}

Status DeployReader::read_stages(const YAML::Node& list, const std::string& path,
                                 DeployConfig& out) const {
  if (list.IsNull()) return {};
  if (!list.IsSequence()) {
    return fail(list, fmt::format("`{}` is {}; allowed is a list of stages.", path, quoted(list)));
  }
  std::set<int32_t> seen;
  size_t index = 0;
  for (const YAML::Node& stage : list) {
    const std::string at = fmt::format("{}[{}]", path, index++);
    if (!stage.IsMap()) {
      return fail(stage, fmt::format("`{}` is {}; allowed is a mapping.", at, quoted(stage)));
    }
    const YAML::Node id_node = stage["stage_id"];
    if (!id_node) return fail(stage, fmt::format("`{}` has no stage_id.", at));
    int32_t id = -1;
    const bool good = id_node.IsScalar() && parse(id_node.Scalar(), id) && id >= 0 &&
                      id < static_cast<int32_t>(target_.stage_names.size());
    if (!good) {
      return fail(id_node, fmt::format("`{}.stage_id` is {}; this model has the stages 0 to {}.",
                                       at, quoted(id_node), target_.stage_names.size() - 1));
    }
    if (!seen.insert(id).second) {
      return fail(id_node, fmt::format("`{}.stage_id` is {}, which stands twice.", at, id));
    }
    TUTTI_RETURN_IF_ERROR(read_stage_keys(stage, at, out.stages[id], /*has_id=*/true));
  }
  return {};
}

Status DeployReader::read_platforms(const YAML::Node& map, DeployConfig& out) const {
  if (map.IsNull()) return {};
  TUTTI_ASSIGN_OR_RETURN(const std::vector<Entry> platforms, entries(map, "platforms"));
  for (const Entry& platform : platforms) {
    if (std::ranges::find(kPlatforms, platform.name) == kPlatforms.end()) {
      const std::string near = nearest(platform.name, kPlatforms);
      return fail(platform.key_node,
                  fmt::format("`{}` is not a known platform; {}", platform.path,
                              near.empty() ? fmt::format("known are: {}.", join(kPlatforms))
                                           : fmt::format("did you mean `{}`?", near)));
    }
    if (platform.value.IsNull()) continue;
    if (platform.name != "cpu" && platform.name != "cuda") continue;
    // Both of ours are read, so that a mistake in the other's section is found, too.
    DeployConfig other{.pipeline = {}, .stages = std::vector<Settings>(out.stages.size())};
    DeployConfig& section = platform.name == target_.platform ? out : other;
    TUTTI_RETURN_IF_ERROR(read_top(platform.value, platform.path, section, nullptr, nullptr));
  }
  return {};
}

Status DeployReader::read_top(const YAML::Node& map, const std::string& path, DeployConfig& out,
                              DeployConfig* platform, std::string* base) const {
  TUTTI_ASSIGN_OR_RETURN(const std::vector<Entry> items, entries(map, path));
  for (const Entry& item : items) {
    if (item.name == "stages") {
      TUTTI_RETURN_IF_ERROR(read_stages(item.value, item.path, out));
    } else if (item.name == "platforms" && platform != nullptr) {
      TUTTI_RETURN_IF_ERROR(read_platforms(item.value, *platform));
    } else if (item.name == "base_config" && base != nullptr) {
      if (item.value.IsNull()) continue;
      if (!item.value.IsScalar()) {
        return fail(item.value, fmt::format("`base_config` is {}; allowed is a file's path.",
                                            quoted(item.value)));
      }
      *base = item.value.Scalar();
    } else {
      TUTTI_RETURN_IF_ERROR(read_setting(item, kTopLevel, "", out.pipeline));
    }
  }
  return {};
}

Status DeployReader::read_document(const YAML::Node& root, DeployConfig& plain,
                                   DeployConfig& platform, std::string& base) const {
  if (root.IsNull()) return {};
  return read_top(root, "", plain, &platform, &base);
}

}  // namespace tutti
