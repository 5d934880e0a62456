// The control methods of collective_rpc: their names, their parameters, and the one JSON object
// that replicas get for a caller's positional and named arguments.
//
// Thread: free functions; any thread.
#pragma once

#include <string>
#include <vector>

#include "tutti/status.h"

namespace tutti {

std::vector<std::string> control_method_names();

// `args_json`: a JSON array or empty; `kwargs_json`: a JSON object or empty. The result is an
// object with every argument under its parameter's name. Errors: unknown method (lists the known
// ones and names the nearest), too many arguments, one given twice, an unknown or missing one,
// wrong type.
Result<std::string> control_arguments(const std::string& method, const std::string& args_json,
                                      const std::string& kwargs_json);

}  // namespace tutti
