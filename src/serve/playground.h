// The playground's files, embedded in the program.
#pragma once

#include "serve/router.h"

namespace tutti::serve {

// GET / and what the page needs; nothing when the program was built without it.
void add_playground_routes(Router& router);

}  // namespace tutti::serve
