// The endpoints beside generation: models, health, metrics, tokens, control methods.
#pragma once

#include "serve/router.h"
#include "serve/services.h"

namespace tutti::serve {

// `services` must outlive the router.
void add_system_routes(Router& router, const Services& services);

}  // namespace tutti::serve
