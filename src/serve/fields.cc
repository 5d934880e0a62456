#include "serve/fields.h"

#include <fmt/format.h>

#include <cmath>

#include "base/strings.h"
#include "serve/api_error.h"
#include "serve/http.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr std::string_view kUnknown = "The field `";
constexpr std::string_view kMissing = "` is missing; it must be ";
constexpr std::string_view kEmpty = "` is empty; it must be ";
// Of the engine's sentence about a prompt that is too long.
constexpr std::string_view kPrompt = "The prompt has ";
constexpr std::string_view kContext = " tokens; the context holds ";

}  // namespace

std::string_view field_error_code(const Status& error) {
  const std::string& sentence = error.message();
  // At their beginnings: further on they may quote what the client sent.
  if (sentence.starts_with(kPrompt) && sentence.find(kContext) != std::string::npos)
    return "context_length_exceeded";
  if (sentence.starts_with(kUnknown)) return "unknown_parameter";
  if (sentence.starts_with(fmt::format("`{}{}", error.param(), kMissing)))
    return "missing_required_parameter";
  return "invalid_value";
}

std::string_view json_kind(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
    default:
      return "a number";
  }
}

const json::value* Fields::find(std::string_view name) {
  known_.emplace(name);
  const json::value* value = object_.if_contains(name);
  return value && !value->is_null() ? value : nullptr;
}

std::string Fields::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

void Fields::fail(std::string_view name, std::string sentence) {
  if (error_->ok()) *error_ = invalid_argument(std::move(sentence)).with_param(path_of(name));
}

void Fields::missing(std::string_view name, std::string_view what) {
  const json::value* value = object_.if_contains(name);
  const bool is_empty = value && !value->is_null();
  fail(name, fmt::format("`{}{}{}.", path_of(name), is_empty ? kEmpty : kMissing, what));
}

void Fields::wrong_type(std::string_view name, const json::value& found, std::string_view allowed) {
  fail(name, fmt::format("`{}` is {}; it must be {}.", path_of(name), json_kind(found), allowed));
}

std::optional<double> Fields::number(std::string_view name, double low, double high) {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_number()) {
    wrong_type(name, *value, "a number");
    return std::nullopt;
  }
  const double number = value->to_number<double>();
  if (number >= low && number <= high) return number;
  fail(name,
       fmt::format("`{}` is {}; it must be from {} to {}.", path_of(name), number, low, high));
  return std::nullopt;
}

std::optional<int64_t> Fields::integer(std::string_view name, int64_t low, int64_t high) {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  boost::system::error_code inexact;
  const int64_t number = value->is_number() ? value->to_number<int64_t>(inexact) : 0;
  if (!value->is_number() || inexact) {
    wrong_type(name, *value, "an integer");
    return std::nullopt;
  }
  if (number >= low && number <= high) return number;
  fail(name,
       fmt::format("`{}` is {}; it must be from {} to {}.", path_of(name), number, low, high));
  return std::nullopt;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  if (value->is_bool()) return value->get_bool();
  wrong_type(name, *value, "true or false");
  return std::nullopt;
}

std::optional<std::string> Fields::string(std::string_view name) {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  if (value->is_string()) return std::string(value->get_string());
  wrong_type(name, *value, "a string");
  return std::nullopt;
}

std::optional<std::string> Fields::choice(std::string_view name,
                                          const std::vector<std::string>& allowed) {
  std::optional<std::string> value = string(name);
  if (!value) return std::nullopt;
  if (std::find(allowed.begin(), allowed.end(), *value) != allowed.end()) return value;
  fail(name, fmt::format("`{}` is '{}'; it must be {}.", path_of(name), printable(*value),
                         join(allowed, " or ")));
  return std::nullopt;
}

const json::array* Fields::array(std::string_view name) {
  const json::value* value = find(name);
  if (!value) return nullptr;
  if (const auto* array = value->if_array()) return array;
  wrong_type(name, *value, "an array");
  return nullptr;
}

const json::object* Fields::object(std::string_view name) {
  const json::value* value = find(name);
  if (!value) return nullptr;
  if (const auto* object = value->if_object()) return object;
  wrong_type(name, *value, "an object");
  return nullptr;
}

const json::array* Fields::objects(std::string_view name) {
  const json::array* values = array(name);
  if (!values) return nullptr;
  for (const json::value& element : *values) {
    if (element.is_object()) continue;
    fail(name, fmt::format("`{}` has {}; it must be an array of objects.", path_of(name),
                           json_kind(element)));
    return nullptr;
  }
  return values;
}

const json::value* Fields::any(std::string_view name) { return find(name); }

std::vector<std::string> Fields::strings(std::string_view name) {
  std::vector<std::string> out;
  const json::value* value = find(name);
  if (!value) return out;
  if (const auto* one = value->if_string()) {
    out.emplace_back(*one);
    return out;
  }
  const auto* array = value->if_array();
  const bool fits = array && std::all_of(array->begin(), array->end(),
                                         [](const json::value& v) { return v.is_string(); });
  if (!fits) {
    wrong_type(name, *value, "a string or an array of strings");
    return out;
  }
  for (const json::value& element : *array) out.emplace_back(element.get_string());
  return out;
}

std::vector<int32_t> Fields::integers(std::string_view name) {
  std::vector<int32_t> out;
  const json::array* values = array(name);
  if (!values) return out;
  for (const json::value& element : *values) {
    boost::system::error_code inexact;
    const auto number = element.is_number() ? element.to_number<int32_t>(inexact) : 0;
    if (!element.is_number() || inexact) {
      wrong_type(name, element, "an array of integers");
      return {};
    }
    out.push_back(number);
  }
  return out;
}

void Fields::accept(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) known_.emplace(name);
}

void Fields::finish() {
  for (const auto& field : object_) {
    const std::string_view name(field.key().data(), field.key().size());
    if (known_.contains(name)) continue;
    const std::vector<std::string> known(known_.begin(), known_.end());
    const std::string close = nearest(name, known);
    fail(name, fmt::format(
                   "{}{}` is unknown{}", kUnknown, path_of(printable(name)),
                   close.empty() ? std::string(".") : fmt::format("; did you mean `{}`?", close)));
    return;
  }
}

Result<json::object> parse_json_body(std::string_view content_type, std::string_view body) {
  const std::string type = media_type(content_type);
  if (type != "application/json") {
    return invalid_argument(fmt::format(
        "The body's Content-Type is '{}'; it must be application/json.", printable(type)));
  }
  boost::system::error_code error;
  // Deep nesting is refused by the parser's default depth of 32.
  json::value value = json::parse(json::string_view(body.data(), body.size()), error);
  if (error) return invalid_argument(fmt::format("The body is no JSON: {}.", error.message()));
  if (!value.is_object()) {
    return invalid_argument(fmt::format("The body is {}; it must be an object.", json_kind(value)));
  }
  return std::move(value.get_object());
}

}  // namespace tutti::serve
