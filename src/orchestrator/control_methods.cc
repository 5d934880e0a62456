#include "orchestrator/control_methods.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <span>

#include "base/strings.h"

namespace tutti {
namespace {

namespace json = boost::json;

struct Parameter {
  const char* name;
  bool is_string;  // else a whole number
  bool required;
};
struct Method {
  const char* name;
  std::vector<Parameter> parameters;
};

const std::vector<Method>& methods() {
  static const std::vector<Method> kMethods = {
      {"add_lora", {{"lora_name", true, true}, {"lora_path", true, true}}},
      {"remove_lora", {{"lora_name", true, true}}},
      {"list_loras", {}},
      {"pin_lora", {{"lora_name", true, true}}},
      {"sleep", {{"level", false, false}}},
      {"wake_up", {}},
      {"pause", {}},
      {"resume", {}},
      {"reset_prefix_cache", {}},
      {"reset_mm_cache", {}},
      {"start_profile", {{"path", true, false}}},
      {"stop_profile", {}},
      {"stats", {}},
      {"ping", {}},
  };
  return kMethods;
}

std::vector<std::string> names_of(std::span<const Parameter> parameters) {
  std::vector<std::string> names;
  for (const Parameter& parameter : parameters) names.emplace_back(parameter.name);
  return names;
}

Result<const Method*> find_method(const std::string& name) {
  for (const Method& method : methods()) {
    if (name == method.name) return &method;
  }
  const std::vector<std::string> known = control_method_names();
  const std::string near = nearest(name, known);
  return invalid_argument(fmt::format("There is no control method '{}'; {}known are: {}.", name,
                                      near.empty() ? "" : fmt::format("did you mean '{}'? ", near),
                                      join(known)))
      .with_param("method");
}

Result<json::value> parse(const std::string& text, const char* param, bool array) {
  if (text.empty()) return array ? json::value(json::array()) : json::value(json::object());
  json::error_code error;
  json::value value = json::parse(text, error);
  if (error || value.is_array() != array || value.is_object() == array) {
    return invalid_argument(
               fmt::format("`{}` must be a JSON {}.", param, array ? "array" : "object"))
        .with_param(param);
  }
  return value;
}

Status put(const Method& method, const Parameter& parameter, const json::value& value,
           json::object& out) {
  if (parameter.is_string ? !value.is_string() : !value.is_int64()) {
    return invalid_argument(fmt::format("`{}` of {} is {}; it must be a {}.", parameter.name,
                                        method.name, json::serialize(value),
                                        parameter.is_string ? "string" : "whole number"))
        .with_param(parameter.name);
  }
  if (out.contains(parameter.name)) {
    return invalid_argument(fmt::format("`{}` of {} is given twice.", parameter.name, method.name))
        .with_param(parameter.name);
  }
  out.emplace(parameter.name, value);
  return {};
}

Status put_named(const Method& method, const json::object& named, json::object& out) {
  for (const auto& [key, value] : named) {
    const auto found = std::find_if(method.parameters.begin(), method.parameters.end(),
                                    [&](const Parameter& p) { return key == p.name; });
    if (found == method.parameters.end()) {
      const std::vector<std::string> known = names_of(method.parameters);
      return invalid_argument(
                 fmt::format("{} has no argument `{}`; {}.", method.name, std::string_view(key),
                             known.empty() ? "it takes none" : "known are: " + join(known)))
          .with_param("kwargs");
    }
    TUTTI_RETURN_IF_ERROR(put(method, *found, value, out));
  }
  return {};
}

}  // namespace

std::vector<std::string> control_method_names() {
  std::vector<std::string> names;
  for (const Method& method : methods()) names.emplace_back(method.name);
  return names;
}

Result<std::string> control_arguments(const std::string& name, const std::string& args_json,
                                      const std::string& kwargs_json) {
  TUTTI_ASSIGN_OR_RETURN(const Method* method, find_method(name));
  TUTTI_ASSIGN_OR_RETURN(const json::value args, parse(args_json, "args", true));
  TUTTI_ASSIGN_OR_RETURN(const json::value named, parse(kwargs_json, "kwargs", false));
  const json::array& positional = args.get_array();
  if (positional.size() > method->parameters.size()) {
    return invalid_argument(fmt::format("{} takes at most {} arguments; {} are given.", name,
                                        method->parameters.size(), positional.size()))
        .with_param("args");
  }
  json::object out;
  for (size_t i = 0; i < positional.size(); ++i) {
    TUTTI_RETURN_IF_ERROR(put(*method, method->parameters[i], positional[i], out));
  }
  TUTTI_RETURN_IF_ERROR(put_named(*method, named.get_object(), out));
  for (const Parameter& parameter : method->parameters) {
    if (!parameter.required || out.contains(parameter.name)) continue;
    return invalid_argument(fmt::format("{} needs the argument `{}`.", name, parameter.name))
        .with_param(parameter.name);
  }
  return json::serialize(out);
}

}  // namespace tutti
