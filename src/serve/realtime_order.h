// ResponseOrder: what a response.create asks for.
//
// Thread: plain data; the reader takes its time where input has media, so it runs without the
// session's lock.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "serve/fields.h"
#include "serve/model_info.h"
#include "serve/realtime_conversation.h"
#include "serve/realtime_settings.h"

namespace tutti::serve {

struct ItemReference {
  std::string id;  // of an item of the conversation
};
using OrderItem = std::variant<ItemReference, ConversationItem>;

// Other values than the session's; none: the session's.
struct ResponseSettings {
  std::optional<std::string> instructions;
  std::optional<std::string> voice;
  std::optional<bool> speech;
  std::optional<double> speed;
  std::optional<double> temperature;
  std::optional<std::optional<int32_t>> max_output_tokens;  // the inner none: no limit

  RealtimeSettings over(RealtimeSettings session) const;
};

struct ResponseOrder {
  ResponseSettings settings;
  // `conversation: "none"`: what is said stays out of the conversation.
  bool out_of_band = false;
  // What to answer instead of the conversation.
  std::optional<std::vector<OrderItem>> input;
  boost::json::value metadata = nullptr;  // the client's; comes back with the response
};

// `object`: the event's `response`.
ResponseOrder read_order(const boost::json::object& object, const ModelInfo& model, Status* error);

}  // namespace tutti::serve
