// Reading the JSON files of a model directory, with errors that name the file.
// *Thread:* any.
#pragma once

#include <boost/json/value.hpp>
#include <filesystem>
#include <string>
#include <string_view>

#include "tutti/status.h"

namespace tutti::text {

Result<std::string> read_text_file(const std::filesystem::path& path);
// The file's JSON; errors give the line at which it is broken.
Result<boost::json::value> read_json_file(const std::filesystem::path& path);
// The same, and an error when the top is not an object.
Result<boost::json::object> read_json_object(const std::filesystem::path& path);

// Fields of an object: null when absent (or JSON null), an error naming `what` when of another
// type.
Result<const boost::json::object*> object_field(const boost::json::object& object,
                                                std::string_view key, std::string_view what);
Result<const boost::json::array*> array_field(const boost::json::object& object,
                                              std::string_view key, std::string_view what);
Result<bool> bool_field(const boost::json::object& object, std::string_view key, bool fallback,
                        std::string_view what);
// Empty when absent.
Result<std::string_view> string_field(const boost::json::object& object, std::string_view key,
                                      std::string_view what);

}  // namespace tutti::text
