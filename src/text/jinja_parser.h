// Parses a chat template into its syntax tree. What lies outside the supported subset of Jinja is
// an error that names the construct and the line. *Thread:* any.
#pragma once

#include <string_view>

#include "tutti/status.h"

#include "text/jinja_ast.h"

namespace tutti::text::jinja {

Result<Body> parse_template(std::string_view source);

}  // namespace tutti::text::jinja
