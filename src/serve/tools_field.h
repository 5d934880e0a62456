// The fields `tools` and `tool_choice`: functions that the model is told of by its chat template.
//
// Thread: any.
#pragma once

#include <boost/json.hpp>

#include "tutti/request.h"

#include "serve/fields.h"

namespace tutti::serve {

// Where a tool has its name, description and parameters: chat completions in an object `function`,
// responses in itself.
enum class ToolShape : uint8_t { kNested, kFlat };

// Gives the template the tools as chat completions have them, unless `tool_choice` is "none".
// Returns them as they were sent. Errors name the tool's path; a call cannot be forced.
boost::json::array read_tools(Fields& fields, ToolShape shape, ChatPrompt& prompt);

}  // namespace tutti::serve
