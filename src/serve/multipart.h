// multipart/form-data bodies (RFC 7578), as file uploads send them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

namespace tutti::serve {

struct FormPart {
  std::string name;
  std::string filename;  // empty: a plain field
  std::string content_type;
  std::string_view data;  // into the body
};

// Errors: another content type, no boundary, parts that do not end, more than 64 parts.
Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body);

}  // namespace tutti::serve
