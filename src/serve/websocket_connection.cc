#include "serve/websocket_connection.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <deque>
#include <mutex>

#include "base/log.h"

namespace tutti::serve {

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using net::experimental::awaitable_operators::operator||;

namespace {

constexpr auto kUse = net::as_tuple(net::use_awaitable);

class Peer final : public WebSocketPeer, public std::enable_shared_from_this<Peer> {
 public:
  Peer(ServerContextPtr context, net::any_io_executor strand)
      : context_(std::move(context)), strand_(std::move(strand)), signal_(strand_) {}

  bool send(std::string text) override {
    const std::lock_guard lock(mutex_);
    if (closing_) return false;
    queued_bytes_ += static_cast<int64_t>(text.size());
    if (queued_bytes_ > context_->options.max_unread_bytes) {
      close_locked(websocket::close_code::policy_error, "The client reads too slowly.");
      messages_.clear();
      return false;
    }
    messages_.push_back(std::move(text));
    wake();
    return true;
  }

  void close(uint16_t code, std::string reason) override {
    const std::lock_guard lock(mutex_);
    if (!closing_) close_locked(code, std::move(reason));
  }

  struct Next {
    std::deque<std::string> messages;
    bool closing = false;
    websocket::close_reason reason;
  };
  net::awaitable<Next> next() {
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        wake_posted_ = false;
        if (!messages_.empty() || closing_) {
          queued_bytes_ = 0;
          co_return Next{std::exchange(messages_, {}), closing_, reason_};
        }
      }
      signal_.expires_at(std::chrono::steady_clock::time_point::max());
      const auto [cancelled] = co_await signal_.async_wait(kUse);
      (void)cancelled;
    }
  }

 private:
  void close_locked(uint16_t code, std::string reason) {
    constexpr size_t kMostReason = 120;  // a control frame has 125 bytes, two for the code
    if (reason.size() > kMostReason) reason.resize(kMostReason);
    closing_ = true;
    reason_ = websocket::close_reason(static_cast<websocket::close_code>(code), reason);
    wake();
  }
  void wake() {
    if (std::exchange(wake_posted_, true)) return;
    net::post(strand_, [self = shared_from_this()] { self->signal_.cancel(); });
  }

  const ServerContextPtr context_;
  const net::any_io_executor strand_;
  net::steady_timer signal_;
  std::mutex mutex_;
  std::deque<std::string> messages_;
  int64_t queued_bytes_ = 0;
  bool closing_ = false;
  websocket::close_reason reason_;
  bool wake_posted_ = false;
};

template <typename Stream>
class Socket final : public Closable {
 public:
  Socket(ServerContextPtr context, Stream stream)
      : context_(std::move(context)),
        socket_(std::move(stream)),
        peer_(std::make_shared<Peer>(context_, socket_.get_executor())) {
    context_->enter(this);
  }
  ~Socket() override { context_->leave(this); }

  // Also when it is idle: a socket has no end of its own.
  void close(bool idle_only) override {
    if (idle_only) {
      peer_->close(websocket::close_code::going_away, "The server is shutting down.");
    } else {
      net::post(socket_.get_executor(), [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.lock()) beast::get_lowest_layer(socket_).close();
      });
    }
  }

  net::awaitable<void> run(UpgradeRequest request, WebSocketSession& session) {
    auto limits = websocket::stream_base::timeout::suggested(beast::role_type::server);
    limits.idle_timeout = std::chrono::seconds(60);
    limits.keep_alive_pings = true;
    socket_.set_option(limits);
    socket_.read_message_max(static_cast<size_t>(context_->options.max_message_bytes));
    const bool realtime = request["Sec-WebSocket-Protocol"].find("realtime") != std::string::npos;
    socket_.set_option(websocket::stream_base::decorator([realtime](websocket::response_type& r) {
      if (realtime) r.set("Sec-WebSocket-Protocol", "realtime");
    }));
    const auto [error] = co_await socket_.async_accept(request, kUse);
    if (error) co_return;
    if (context_->stopping.load()) close(true);
    session.on_open(peer_);
    co_await (read(session) || write());
    session.on_close();
  }

 private:
  net::awaitable<void> read(WebSocketSession& session) {
    beast::flat_buffer buffer;
    for (;;) {
      const auto [error, count] = co_await socket_.async_read(buffer, kUse);
      if (error) co_return;
      if (!socket_.got_text()) {
        peer_->close(websocket::close_code::unknown_data, "Messages are JSON text.");
      } else {
        const auto data = buffer.data();
        try {
          session.on_text(std::string(static_cast<const char*>(data.data()), data.size()));
        } catch (const std::exception& e) {
          spdlog::error("a WebSocket session failed: {}", e.what());
          peer_->close(websocket::close_code::internal_error, "The server failed.");
        }
      }
      buffer.consume(buffer.size());
    }
  }

  net::awaitable<void> write() {
    socket_.text(true);
    for (;;) {
      const Peer::Next next = co_await peer_->next();
      for (const std::string& message : next.messages) {
        const auto [error, count] = co_await socket_.async_write(net::buffer(message), kUse);
        if (error) co_return;
      }
      if (!next.closing) continue;
      const auto [ignored] = co_await socket_.async_close(next.reason, kUse);
      (void)ignored;
      co_return;
    }
  }

  const ServerContextPtr context_;
  websocket::stream<Stream> socket_;
  const std::shared_ptr<Peer> peer_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

template <typename Stream>
net::awaitable<void> run_any(ServerContextPtr context, Stream stream, UpgradeRequest request,
                             std::shared_ptr<WebSocketSession> session) {
  Socket<Stream> socket(std::move(context), std::move(stream));
  co_await socket.run(std::move(request), *session);
}

}  // namespace

net::awaitable<void> run_websocket(ServerContextPtr context, beast::tcp_stream stream,
                                   UpgradeRequest request,
                                   std::shared_ptr<WebSocketSession> session) {
  return run_any(std::move(context), std::move(stream), std::move(request), std::move(session));
}

net::awaitable<void> run_websocket(ServerContextPtr context,
                                   beast::ssl_stream<beast::tcp_stream> stream,
                                   UpgradeRequest request,
                                   std::shared_ptr<WebSocketSession> session) {
  return run_any(std::move(context), std::move(stream), std::move(request), std::move(session));
}

}  // namespace tutti::serve
