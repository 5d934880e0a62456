#include "base/json_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/stream_parser.hpp>
#include <fstream>

namespace tutti {

namespace json = boost::json;

Result<std::string> read_text_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) return not_found(fmt::format("The file '{}' cannot be read.", path.string()));
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (static_cast<uint64_t>(file.gcount()) != size) {
    return internal_error(fmt::format("Reading '{}' ended after {} of {} bytes.", path.string(),
                                      file.gcount(), size));
  }
  return text;
}

Result<json::object> read_json_object(const std::filesystem::path& path) {
  TUTTI_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
  json::stream_parser parser;
  json::error_code error;
  const size_t parsed = parser.write_some(text, error);
  const size_t rest = text.find_first_not_of(" \t\r\n", parsed);
  if (!error && rest != std::string::npos) error = json::error::extra_data;
  if (!error) parser.finish(error);
  if (error) {
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(parsed), '\n');
    return invalid_argument(fmt::format("'{}' is not valid JSON: {} (line {}, byte {}).",
                                        path.string(), error.message(), line, parsed));
  }
  json::value value = parser.release();
  if (!value.is_object()) {
    return invalid_argument(fmt::format("'{}' holds no JSON object at its top.", path.string()));
  }
  return std::move(value.get_object());
}

namespace {
Status wrong_type(std::string_view key, std::string_view what, std::string_view wanted) {
  return invalid_argument(fmt::format("'{}' of {} is not {}.", key, what, wanted));
}
const json::value* present(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}
}  // namespace

Result<const json::object*> object_field(const json::object& object, std::string_view key,
                                         std::string_view what) {
  const json::value* value = present(object, key);
  if (value == nullptr) return static_cast<const json::object*>(nullptr);
  if (!value->is_object()) return wrong_type(key, what, "an object");
  return &value->get_object();
}

Result<const json::array*> array_field(const json::object& object, std::string_view key,
                                       std::string_view what) {
  const json::value* value = present(object, key);
  if (value == nullptr) return static_cast<const json::array*>(nullptr);
  if (!value->is_array()) return wrong_type(key, what, "an array");
  return &value->get_array();
}

Result<bool> bool_field(const json::object& object, std::string_view key, bool fallback,
                        std::string_view what) {
  const json::value* value = present(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) return wrong_type(key, what, "true or false");
  return value->get_bool();
}

Result<std::string_view> string_field(const json::object& object, std::string_view key,
                                      std::string_view what) {
  const json::value* value = present(object, key);
  if (value == nullptr) return std::string_view();
  if (!value->is_string()) return wrong_type(key, what, "a string");
  return std::string_view(value->get_string());
}

}  // namespace tutti
