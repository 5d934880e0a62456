// Bundled models: names that stand for directories shipped with the program.
//
// Looked for in $TUTTI_MODELS, in models/ of the source tree that the program was built in, and in
// share/tutti/models beside an installed program's bin/, in this order.
// Thread: any.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tutti/status.h"

namespace tutti {

// Names that can be used now, in order; each is a directory with a config.json.
std::vector<std::string> bundled_models();
// The directory that `model` means: itself when it is one, else the bundled model of that name.
// Error: neither; lists the bundled names.
Result<std::filesystem::path> resolve_model(const std::string& model);

}  // namespace tutti
