// Bytes to and from a server of this machine, as any client may send them.
#pragma once

#include <string>

#include "server_process.h"

namespace tutti::testing {

class SocketClient {
 public:
  explicit SocketClient(const ServerProcess& server);
  ~SocketClient();
  SocketClient(const SocketClient&) = delete;
  SocketClient& operator=(const SocketClient&) = delete;

  // False when the server has closed the connection.
  bool send(const std::string& bytes) const;
  // No more will be sent; the answer can still be read.
  void half_close() const;
  // With a reset instead of an orderly end.
  void reset();
  // Everything since the connection began, until `text` has come, or the end.
  const std::string& read_until(const std::string& text);
  const std::string& read_all();
  // Exactly so many further bytes, or fewer at the end.
  std::string take(size_t count);
  bool at_end();  // the server has closed, and everything has been taken

 private:
  bool read_some();

  int fd_;
  std::string seen_;
  size_t taken_ = 0;
};

// With Connection: close, so that the answer ends with the connection.
std::string http_request(const std::string& method, const std::string& target,
                         const std::string& body = "",
                         const std::string& headers = "Content-Type: application/json\r\n");
// The whole answer.
std::string ask(const ServerProcess& server, const std::string& bytes);
// The value of the first header line of this name; empty when there is none.
std::string header_of(const std::string& answer, const std::string& name);
// Asks /metrics until it has `text`, for at most `seconds`; the last answer.
std::string metrics_with(const ServerProcess& server, const std::string& text, double seconds = 20);
// Whether the server comes back to `count` open descriptors, within `seconds`.
bool comes_back_to(const ServerProcess& server, int count, double seconds = 20);

}  // namespace tutti::testing
