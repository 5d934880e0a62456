// A ChatPrompt as the variables of a chat template.
#pragma once

#include <boost/json/object.hpp>

#include "tutti/request.h"

namespace tutti {

// "messages" (a content of one text part is a string, otherwise a list of typed parts), "tools"
// when given, "add_generation_prompt", and what template_kwargs_json holds. Errors: no messages,
// JSON that is none.
Result<boost::json::object> chat_context(const ChatPrompt& prompt);

}  // namespace tutti
