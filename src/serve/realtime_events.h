// RealtimeEvents: what the server says in a realtime session: numbered events, and errors that name
// the client's event.
//
// Thread: under the session's lock. After close() nothing is sent any more.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "tutti/status.h"

#include "serve/http.h"

namespace tutti::serve {

// What is wrong with an event, and OpenAI's name for that.
struct RealtimeError {
  Status status;
  std::string code;

  bool ok() const { return status.ok(); }
};

class RealtimeEvents {
 public:
  void open(std::shared_ptr<WebSocketPeer> peer) { peer_ = std::move(peer); }
  void close() { peer_ = nullptr; }
  // What errors are about from now on; empty: the client gave its event no id.
  void set_client_event(std::string id) { client_event_ = std::move(id); }

  void send(boost::json::object event);
  void error(const RealtimeError& failure);

 private:
  std::shared_ptr<WebSocketPeer> peer_;
  std::string client_event_;
  int64_t next_event_ = 1;
};

// null for an empty string.
boost::json::value or_null(const std::string& text);

}  // namespace tutti::serve
