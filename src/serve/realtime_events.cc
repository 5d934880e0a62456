#include "serve/realtime_events.h"

#include <fmt/format.h>

#include "serve/api_error.h"

namespace tutti::serve {

namespace json = boost::json;

json::value or_null(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(text);
}

void RealtimeEvents::send(json::object event) {
  if (!peer_) return;
  event["event_id"] = fmt::format("event_{}", next_event_++);
  peer_->send(json::serialize(event));
}

void RealtimeEvents::error(const RealtimeError& failure) {
  const Status& status = failure.status;
  json::object error{{"type", error_type(status.code())},
                     {"code", or_null(failure.code)},
                     {"message", status.message()},
                     {"param", or_null(status.param())},
                     {"event_id", or_null(client_event_)}};
  send({{"type", "error"}, {"error", std::move(error)}});
}

}  // namespace tutti::serve
