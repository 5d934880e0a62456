// Reply: the answer to one request, between its producers and the connection that sends it. Bytes
// gather while a write is on its way, so that a burst of tokens costs one write.
//
// Thread: HttpReply's methods from any; next() and client_gone() on the connection's strand.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <mutex>
#include <string>

#include "serve/connection.h"
#include "serve/http.h"

namespace tutti::serve {

class Reply final : public HttpReply, public std::enable_shared_from_this<Reply> {
 public:
  struct Request {
    Headers extra_headers = {};  // CORS
    bool head = false;           // no body goes out
    bool keep_alive = true;
    bool chunked = true;  // HTTP/1.1
  };
  Reply(ServerContextPtr context, net::any_io_executor strand, Request request);

  void send(HttpResponse response) override;
  void begin(HttpResponse head) override;
  bool write(std::string_view piece) override;
  void end() override;
  void break_off() override;
  void on_disconnect(std::function<void()> gone) override;

  struct Piece {
    std::string bytes;
    bool ended = false;
  };
  // Waits for something to send.
  net::awaitable<Piece> next();
  void client_gone();
  bool keep_alive() const { return request_.keep_alive; }
  // The body is not whole, and only a reset says so: its end is the end of the connection.
  bool needs_reset();
  // Everything has been said: nobody needs to hear of a disconnect.
  bool is_complete();

 private:
  enum class State : uint8_t { kFresh, kStreaming, kEnded, kGone };
  void append_head(const HttpResponse& response, bool streamed);
  void append_piece(std::string_view piece);
  void wake();

  const ServerContextPtr context_;
  const net::any_io_executor strand_;
  Request request_;
  net::steady_timer signal_;  // of the strand: cancelled when there is something to send

  std::mutex mutex_;
  State state_ = State::kFresh;
  std::string outbox_;
  bool wake_posted_ = false;
  bool broken_ = false;  // the body lacks its end
  std::function<void()> gone_;
};

}  // namespace tutti::serve
