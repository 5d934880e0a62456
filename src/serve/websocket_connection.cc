#include "serve/websocket_connection.h"

#include <fmt/format.h>

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
#include "base/strings.h"
#include "media/data_url.h"
#include "serve/api_error.h"
#include "serve/http_date.h"

namespace tutti::serve {

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using net::experimental::awaitable_operators::operator||;

namespace {

constexpr auto kUse = net::as_tuple(net::use_awaitable);
constexpr size_t kPiece = 64 << 10;
// From here on a message is handled apart from the connections, as a large body is: it may hold a
// picture that has to be decoded.
constexpr size_t kLargeMessage = 16 << 10;

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

  net::awaitable<void> run(UpgradeRequest request, std::shared_ptr<WebSocketSession> session) {
    auto limits = websocket::stream_base::timeout::suggested(beast::role_type::server);
    limits.idle_timeout = std::chrono::seconds(60);
    limits.keep_alive_pings = true;
    socket_.set_option(limits);
    // The limit is read()'s: Beast's own closes before the client has read why.
    socket_.read_message_max(0);
    const auto protocols = request["Sec-WebSocket-Protocol"];
    const bool realtime = has_entry({protocols.data(), protocols.size()}, "realtime");
    socket_.set_option(websocket::stream_base::decorator([realtime](websocket::response_type& r) {
      r.set("Date", http_date_now());
      if (realtime) r.set("Sec-WebSocket-Protocol", "realtime");
    }));
    const auto [error] = co_await socket_.async_accept(request, kUse);
    if (error) co_return;
    if (context_->stopping.load()) close(true);
    session->on_open(peer_);
    co_await (read(session) || write());
    session->on_close();
  }

 private:
  net::awaitable<void> read(const std::shared_ptr<WebSocketSession>& session) {
    const auto most = static_cast<size_t>(context_->options.max_message_bytes);
    beast::flat_buffer buffer;
    bool refused = false;  // what still comes is not looked at
    for (;;) {
      const auto [error, count] = co_await socket_.async_read_some(buffer, kPiece, kUse);
      if (error) co_return;
      if (!refused && buffer.size() > most) {
        refused = true;
        peer_->close(
            websocket::close_code::too_big,
            fmt::format("A message has at most {}.", human_bytes(static_cast<double>(most))));
      }
      if (refused) {
        buffer.consume(buffer.size());
      } else if (socket_.is_message_done()) {
        refused = !co_await take(session, buffer);
        buffer.consume(buffer.size());
      }
    }
  }

  // False: nothing of this client is taken any more.
  net::awaitable<bool> take(std::shared_ptr<WebSocketSession> session,
                            const beast::flat_buffer& buffer) {
    if (!socket_.got_text()) {
      peer_->close(websocket::close_code::unknown_data, "Messages are JSON text.");
      co_return false;
    }
    const auto data = buffer.data();
    std::string text(static_cast<const char*>(data.data()), data.size());
    if (text.size() < kLargeMessage) {
      hand_on(*session, std::move(text));
      co_return true;
    }
    // The session is told of its end only when it has taken the message, whatever happens
    // meanwhile.
    co_await net::this_coro::reset_cancellation_state(net::disable_cancellation());
    const auto done = std::make_shared<net::steady_timer>(
        socket_.get_executor(), std::chrono::steady_clock::time_point::max());
    context_->handlers.post_work([this, session, done, text = std::move(text)]() mutable {
      hand_on(*session, std::move(text));
      net::post(done->get_executor(), [done] { done->cancel(); });
    });
    const auto [cancelled] = co_await done->async_wait(kUse);
    (void)cancelled;
    co_await net::this_coro::reset_cancellation_state(net::enable_terminal_cancellation());
    co_return !over_;
  }

  void hand_on(WebSocketSession& session, std::string text) {
    try {
      session.on_text(std::move(text));
    } catch (const std::exception& e) {
      spdlog::error("a WebSocket session failed: {}", e.what());
      peer_->close(websocket::close_code::internal_error, "The server failed.");
    }
  }

  net::awaitable<void> write() {
    socket_.text(true);
    for (;;) {
      const Peer::Next next = co_await peer_->next();
      for (const std::string& message : next.messages) {
        const auto [error, count] = co_await socket_.async_write(net::buffer(message), kUse);
        if (error) co_return end();
      }
      if (!next.closing) continue;
      const auto [ignored] = co_await socket_.async_close(next.reason, kUse);
      (void)ignored;
      co_return end();
    }
  }

  void end() {
    over_ = true;
    beast::get_lowest_layer(socket_).close();
  }

  const ServerContextPtr context_;
  websocket::stream<Stream> socket_;
  const std::shared_ptr<Peer> peer_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool over_ = false;  // on the strand: nothing can be written any more
};

template <typename Stream>
net::awaitable<void> run_any(ServerContextPtr context, Stream stream, UpgradeRequest request,
                             std::shared_ptr<WebSocketSession> session) {
  Socket<Stream> socket(std::move(context), std::move(stream));
  co_await socket.run(std::move(request), std::move(session));
}

}  // namespace

Status check_handshake(const HttpRequest& head) {
  constexpr size_t kKeyBytes = 16;
  const std::string_view version = head.header("sec-websocket-version");
  if (version != kWebSocketVersion) {
    return invalid_argument(fmt::format("`Sec-WebSocket-Version` is '{}'; it must be {}.",
                                        printable(version), kWebSocketVersion))
        .with_param("Sec-WebSocket-Version");
  }
  const auto key = decode_base64(head.header("sec-websocket-key"));
  if (!key || key->size() != kKeyBytes) {
    return invalid_argument("`Sec-WebSocket-Key` must be 16 bytes in base64.")
        .with_param("Sec-WebSocket-Key");
  }
  if (head.header("host").empty()) {
    return invalid_argument("`Host` is missing.").with_param("Host");
  }
  return {};
}

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
