// Fields: reads a JSON object that a client sent, field by field. The first thing that is wrong is
// kept as an error with the field's path; what was never asked for is an unknown field.
//
// Thread: one; on the stack of a parser. Borrows the object.
#pragma once

#include <boost/json.hpp>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

namespace tutti::serve {

class Fields {
 public:
  // `path`: of the object itself, "messages[0].content[1]"; empty for the body.
  Fields(const boost::json::object& object, std::string path, Status* error)
      : object_(object), path_(std::move(path)), error_(error) {}

  // None when the field is missing, null, or wrong (which sets the error).
  std::optional<double> number(std::string_view name,
                               double low = -std::numeric_limits<double>::infinity(),
                               double high = std::numeric_limits<double>::infinity());
  std::optional<int64_t> integer(std::string_view name,
                                 int64_t low = std::numeric_limits<int64_t>::min(),
                                 int64_t high = std::numeric_limits<int64_t>::max());
  std::optional<bool> boolean(std::string_view name);
  std::optional<std::string> string(std::string_view name);
  // One of `allowed`.
  std::optional<std::string> choice(std::string_view name, const std::vector<std::string>& allowed);
  const boost::json::array* array(std::string_view name);
  const boost::json::object* object(std::string_view name);
  // An array whose elements are objects.
  const boost::json::array* objects(std::string_view name);
  const boost::json::value* any(std::string_view name);
  std::vector<std::string> strings(std::string_view name);  // a string or an array of them
  std::vector<int32_t> integers(std::string_view name);
  // Fields that are known and mean nothing here.
  void accept(std::initializer_list<std::string_view> names);

  // "messages[0].role"
  std::string path_of(std::string_view name) const;
  void fail(std::string_view name, std::string sentence);
  // The field is not there, or has nothing in it.
  void missing(std::string_view name, std::string_view what);
  // An error when a field was never asked for; names the nearest known one.
  void finish();
  bool ok() const { return error_->ok(); }
  Status* error() const { return error_; }

 private:
  const boost::json::value* find(std::string_view name);
  void wrong_type(std::string_view name, const boost::json::value& found, std::string_view allowed);

  const boost::json::object& object_;
  const std::string path_;
  Status* const error_;
  std::set<std::string, std::less<>> known_;
};

// What is wrong with the field that an error of Fields, or the engine's about a prompt, is about,
// by OpenAI's names for it: "unknown_parameter", "missing_required_parameter",
// "context_length_exceeded", "invalid_value".
std::string_view field_error_code(const Status& error);
// "a string", "an array", for messages.
std::string_view json_kind(const boost::json::value& value);
// The body of a JSON request as an object; errors name content type, position, or kind.
Result<boost::json::object> parse_json_body(std::string_view content_type, std::string_view body);

}  // namespace tutti::serve
