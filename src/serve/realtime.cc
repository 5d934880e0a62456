#include "serve/realtime.h"

#include <memory>
#include <variant>

#include "serve/api_error.h"
#include "serve/chat_request.h"
#include "serve/realtime_session.h"

namespace tutti::serve {

WebSocketAcceptor realtime_acceptor(const Services& services) {
  return [&services](const HttpRequest& request)
             -> std::variant<std::shared_ptr<WebSocketSession>, WebSocketRefusal> {
    const std::string model = request.query_value("model").value_or("");
    const Status known = model.empty() ? Status() : services.model.check_model(model);
    if (!known.ok()) return WebSocketRefusal{error_response(known)};
    return std::make_shared<RealtimeSession>(services, model, trace_headers(request));
  };
}

}  // namespace tutti::serve
