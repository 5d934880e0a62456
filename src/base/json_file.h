// Reading the JSON files of a model directory, with errors that name the file and the line.
//
// Thread: free functions, any thread.
#pragma once

#include <boost/json/value.hpp>
#include <filesystem>
#include <string>
#include <string_view>

#include "tutti/status.h"

namespace tutti {

Result<std::string> read_text_file(const std::filesystem::path& path);
// Every such file holds an object; anything else is an error. What is no JSON is told with its
// line.
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

}  // namespace tutti
