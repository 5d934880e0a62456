// The field `model`: the served model, or one of its adapters.
//
// Thread: any.
#pragma once

#include <string>

#include "serve/fields.h"
#include "serve/model_info.h"

namespace tutti::serve {

// The model's own name when it is missing. One that is not served sets the error (404).
std::string read_model(Fields& fields, const ModelInfo& model);

}  // namespace tutti::serve
