// HTTP and WebSocket as the handlers see them: plain values and two small interfaces, so that only
// the files of the server itself include Beast.
//
// Thread: a handler is called on an I/O thread, or on one for large bodies, and must not block;
// replies and peers may be used from any thread. Invariants: exactly one of send() and begin() per
// reply; after end(), break_off() or a disconnect further writes do nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tutti::serve {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string path;   // percent-decoded, without the query
  std::string query;  // as sent, without '?'
  Headers headers;    // names in lower case
  std::string body;
  std::vector<std::string> path_params;  // what the route's {} took, in order

  // Empty when there is none.
  std::string_view header(std::string_view lower_name) const;
  std::optional<std::string> query_value(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  Headers headers = {};
};

class HttpReply {
 public:
  virtual ~HttpReply() = default;
  virtual void send(HttpResponse response) = 0;
  // Begins a streamed answer; `head.body` goes out first. Pieces are sent in as few writes as the
  // socket allows.
  virtual void begin(HttpResponse head) = 0;
  // False when the client is gone, or has left more than the server's bound unread and is cut off.
  virtual bool write(std::string_view piece) = 0;
  virtual void end() = 0;
  // Ends a streamed answer that is not whole: what has been written goes out, then the connection
  // closes without the body's end, so that nobody takes it for whole.
  virtual void break_off() = 0;
  // Called once, on an I/O thread, when the client goes away or is cut off before the end; at once
  // when it has.
  virtual void on_disconnect(std::function<void()> gone) = 0;
};
using HttpReplyPtr = std::shared_ptr<HttpReply>;

class WebSocketPeer {
 public:
  virtual ~WebSocketPeer() = default;
  // False when the peer is gone or reads too slowly and is cut off.
  virtual bool send(std::string text) = 0;
  // Sends what is queued, then closes with the code of RFC 6455.
  virtual void close(uint16_t code, std::string reason) = 0;
};

// One socket's other side; calls come one at a time.
class WebSocketSession {
 public:
  virtual ~WebSocketSession() = default;
  virtual void on_open(std::shared_ptr<WebSocketPeer> peer) = 0;
  virtual void on_text(std::string text) = 0;
  virtual void on_close() = 0;
};

using HttpHandler = std::function<void(HttpRequest request, HttpReplyPtr reply)>;
// Makes the session of an upgrade request, or refuses with the response.
struct WebSocketRefusal {
  HttpResponse response;
};
using WebSocketAcceptor =
    std::function<std::variant<std::shared_ptr<WebSocketSession>, WebSocketRefusal>(
        const HttpRequest& request)>;

// Whether a header that is a list ("a, b") has the entry.
bool has_entry(std::string_view list, std::string_view entry);
// "application/json" of "Application/JSON; charset=utf-8".
std::string media_type(std::string_view content_type);
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

}  // namespace tutti::serve
