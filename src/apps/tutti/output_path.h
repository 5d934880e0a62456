// Where a command will write a file, checked before the work that fills it.
#pragma once

#include <string>

#include "tutti/status.h"

namespace tutti::cli {

// OK when a file can be written there, or the path is empty. Errors: a directory, no such
// directory, no permission.
Status check_output_path(const std::string& path);

}  // namespace tutti::cli
