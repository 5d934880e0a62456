// The field `voice`: a name, or an object with the name as `id`, as OpenAI's API has it.
#pragma once

#include <optional>
#include <string>

#include "serve/fields.h"
#include "serve/model_info.h"

namespace tutti::serve {

// None when it is missing or wrong (which sets the error); a voice of the model, also by
// another name that the operator gave it, whatever the case of its letters.
std::optional<std::string> read_voice(Fields& fields, const ModelInfo& model);

}  // namespace tutti::serve
