// The files that are embedded in the program: the API's description and the playground.
#pragma once

#include "serve/router.h"

namespace tutti::serve {

// GET /openapi.json.
void add_description_route(Router& router);
// GET / and what the page needs; nothing when the program was built without it.
void add_playground_routes(Router& router);

}  // namespace tutti::serve
