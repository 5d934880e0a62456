// WS /v1/realtime: spoken conversation by OpenAI's realtime events.
#pragma once

#include "serve/http.h"
#include "serve/services.h"

namespace tutti::serve {

// `services` must outlive the sessions.
WebSocketAcceptor realtime_acceptor(const Services& services);

}  // namespace tutti::serve
