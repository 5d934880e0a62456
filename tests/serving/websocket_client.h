// A WebSocket client that can also send what no client should.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "socket_client.h"

namespace tutti::testing {

class WebSocketClient {
 public:
  explicit WebSocketClient(const ServerProcess& server, const std::string& target = "/v1/realtime",
                           const std::string& headers = "");

  const std::string& handshake() const { return handshake_; }  // the server's answer
  // One frame: flags and opcode as the first byte has them; masked unless said otherwise.
  bool send_frame(uint8_t first, const std::string& payload, bool masked = true) const;
  bool send(const boost::json::object& event) const;
  bool send_bytes(const std::string& bytes) const { return socket_.send(bytes); }

  // The next event; none when the server has closed.
  std::optional<boost::json::object> next();
  // The next event of this type; what came before it is in `passed`.
  std::optional<boost::json::object> next(const std::string& type);
  // The code of the server's close frame, 0 when it ended the connection without one.
  int close_code();
  std::deque<boost::json::object> passed;

 private:
  struct Frame {
    bool final = true;
    uint8_t opcode = 0;
    std::string payload;
  };
  std::optional<Frame> read_frame();

  SocketClient socket_;
  std::string handshake_;
  std::string message_;  // its parts so far
  int close_code_ = 0;
};

std::string base64(const std::string& bytes);

}  // namespace tutti::testing
