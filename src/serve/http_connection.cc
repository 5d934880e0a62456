// One HTTP connection: read a head, ask the router, read the body, answer, again.
#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/ssl.hpp>

#include "base/log.h"
#include "base/strings.h"
#include "serve/api_error.h"
#include "serve/connection.h"
#include "serve/disconnect.h"
#include "serve/http_reply.h"
#include "serve/request_head.h"
#include "serve/unparsed_request.h"
#include "serve/websocket_connection.h"

namespace tutti::serve {

namespace beast = boost::beast;
namespace http = beast::http;
using net::experimental::awaitable_operators::operator||;

namespace {

constexpr auto kUse = net::as_tuple(net::use_awaitable);
// From here on a body is handled apart from the connections: tokenizing so much text, or parsing it
// as JSON, takes under a millisecond.
constexpr size_t kLargeBody = 16 << 10;
constexpr std::string_view kContinue = "100-continue";
using Parser = http::request_parser<http::string_body>;

std::chrono::nanoseconds duration(double seconds) {
  return std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9));
}

// Registers the connection with the server as long as it lives.
class Registered final : public Closable {
 public:
  Registered(ServerContextPtr context, beast::tcp_stream& stream)
      : context_(std::move(context)), stream_(stream), alive_(std::make_shared<bool>(true)) {
    context_->enter(this);
  }
  ~Registered() override {
    *alive_ = false;
    context_->leave(this);
  }
  void close(bool idle_only) override {
    net::post(stream_.get_executor(), [this, idle_only, alive = alive_] {
      if (*alive && !(idle_only && busy)) stream_.close();
    });
  }
  bool busy = false;  // on the strand

 private:
  const ServerContextPtr context_;
  beast::tcp_stream& stream_;
  const std::shared_ptr<bool> alive_;  // on the strand
};

// Error: the head is not one that a server can answer.
Result<HttpRequest> take_head(const Parser& parser) {
  const auto& message = parser.get();
  Headers headers;
  for (const auto& field : message) {
    headers.emplace_back(ascii_lower({field.name_string().data(), field.name_string().size()}),
                         std::string(field.value()));
  }
  return make_head(std::string(message.method_string()),
                   {message.target().data(), message.target().size()}, std::move(headers),
                   message.version() >= 11);
}

// Clients of HTTP/1.0 know no interim answers (RFC 9110, 10.1.1).
std::string expectation(const Parser& parser, const HttpRequest& head) {
  return parser.get().version() >= 11 ? ascii_lower(head.header("expect")) : std::string();
}

template <typename Stream>
class Connection {
 public:
  Connection(ServerContextPtr context, Stream stream)
      : context_(std::move(context)),
        options_(context_->options),
        stream_(std::move(stream)),
        registered_(std::in_place, context_, lowest()) {}

  net::awaitable<void> run() {
    if (!co_await handshake()) co_return;
    while (co_await one_request()) {
    }
    if (!registered_) co_return;
    if (linger_) co_await linger();
    beast::error_code ignored;
    if (reset_) {
      lowest().socket().set_option(net::socket_base::linger(true, 0), ignored);
      lowest().close();
      co_return;
    }
    lowest().socket().shutdown(tcp::socket::shutdown_both, ignored);
  }

 private:
  beast::tcp_stream& lowest() { return beast::get_lowest_layer(stream_); }

  net::awaitable<bool> handshake() {
    if constexpr (!std::is_same_v<Stream, beast::tcp_stream>) {
      lowest().expires_after(duration(options_.header_timeout_s));
      const auto [error] = co_await stream_.async_handshake(net::ssl::stream_base::server, kUse);
      co_return !error;
    }
    co_return true;
  }

  // False: the connection is over.
  net::awaitable<bool> one_request() {
    Parser parser;
    parser.header_limit(static_cast<uint32_t>(options_.max_header_bytes));
    parser.body_limit(static_cast<uint64_t>(options_.max_body_bytes));
    registered_->busy = false;
    if (context_->stopping.load()) co_return false;
    if (buffer_.size() == 0) {
      lowest().expires_after(duration(options_.keep_alive_timeout_s));
      const auto [error, count] = co_await stream_.async_read_some(buffer_.prepare(4096), kUse);
      if (error) co_return false;
      buffer_.commit(count);
    }
    registered_->busy = true;
    lowest().expires_after(duration(options_.header_timeout_s));
    const auto [error, count] = co_await http::async_read_header(stream_, buffer_, parser, kUse);
    if (error) co_return co_await refuse_unparsed(error);
    co_return co_await answer(parser);
  }

  net::awaitable<bool> refuse_unparsed(beast::error_code error, HttpRequest head = {}) {
    if (error == http::error::end_of_stream || error == net::error::operation_aborted ||
        error == net::error::connection_reset || error == http::error::partial_message) {
      co_return false;
    }
    co_return co_await refuse(head, unparsed_refusal(error, options_));
  }

  // Answers without reading on; what the client still sends is not looked at.
  net::awaitable<bool> refuse(const HttpRequest& head, HttpResponse response) {
    auto reply = make_reply(head, /*keep_alive=*/false, /*chunked=*/true);
    reply->send(std::move(response));
    co_await write_out(*reply);
    linger_ = true;
    co_return false;
  }

  std::shared_ptr<Reply> make_reply(const HttpRequest& head, bool keep_alive, bool chunked) {
    Reply::Request request{
        .head = head.method == "HEAD", .keep_alive = keep_alive, .chunked = chunked};
    context_->router.decorate(head, request.extra_headers);
    return std::make_shared<Reply>(context_, stream_.get_executor(), std::move(request));
  }

  net::awaitable<bool> answer(Parser& parser) {
    Result<HttpRequest> taken = take_head(parser);
    if (!taken) {
      HttpRequest bare;  // with the method, since an answer to HEAD has no body
      bare.method = std::string(parser.get().method_string());
      co_return co_await refuse(bare, error_response(taken.error()));
    }
    HttpRequest& request = *taken;
    const bool upgrade = beast::websocket::is_upgrade(parser.get());
    const Router::Match match = context_->router.match(request, upgrade);
    if (match.acceptor) {
      if (const Status fits = check_handshake(request); !fits.ok()) {
        HttpResponse refusal = error_response(fits);
        refusal.headers.emplace_back("Sec-WebSocket-Version", kWebSocketVersion);
        if (fits.param() == "Sec-WebSocket-Version") refusal.status = 426;
        co_return co_await refuse(request, std::move(refusal));
      }
      auto session = (*match.acceptor)(request);
      if (auto* refusal = std::get_if<WebSocketRefusal>(&session)) {
        co_return co_await refuse(request, std::move(refusal->response));
      }
      lowest().expires_never();
      registered_.reset();
      co_await run_websocket(context_, std::move(stream_), parser.release(),
                             std::move(std::get<0>(session)));
      co_return false;
    }
    const bool has_body = !parser.is_done();
    if (!match.handler && has_body) co_return co_await refuse(request, match.refusal);
    if (const std::string expected = expectation(parser, request);
        !expected.empty() && expected != kContinue) {
      HttpResponse refusal = error_response(invalid_argument(
          fmt::format("`Expect` is '{}'; it must be {}.", printable(expected), kContinue)));
      refusal.status = 417;
      co_return co_await refuse(request, std::move(refusal));
    }
    if (!co_await read_body(parser, request)) co_return false;
    request.body = std::move(parser.get().body());
    const bool keep_alive = parser.get().keep_alive() && !context_->stopping.load();
    auto reply = make_reply(request, keep_alive, parser.get().version() >= 11);
    if (match.handler) {
      handle(*match.handler, std::move(request), reply);
    } else {
      reply->send(match.refusal);
    }
    const bool written = co_await send_answer(*reply);
    reset_ = reply->needs_reset();
    co_return written && reply->keep_alive();
  }

  net::awaitable<bool> read_body(Parser& parser, const HttpRequest& request) {
    if (parser.is_done()) co_return true;
    lowest().expires_after(duration(options_.body_timeout_s));
    if (expectation(parser, request) == kContinue) {
      constexpr std::string_view kGoOn = "HTTP/1.1 100 Continue\r\n\r\n";
      const auto [error, count] = co_await net::async_write(stream_, net::buffer(kGoOn), kUse);
      if (error) co_return false;
    }
    const auto [error, count] = co_await http::async_read(stream_, buffer_, parser, kUse);
    if (!error) co_return true;
    co_await refuse_unparsed(error, request);
    co_return false;
  }

  void handle(const HttpHandler& handler, HttpRequest request, std::shared_ptr<Reply> reply) {
    if (request.body.size() < kLargeBody) return call(handler, std::move(request), reply);
    auto shared = std::make_shared<HttpRequest>(std::move(request));
    context_->handlers.post_work(
        [&handler, shared, reply = std::move(reply)] { call(handler, std::move(*shared), reply); });
  }

  static void call(const HttpHandler& handler, HttpRequest request,
                   const std::shared_ptr<Reply>& reply) {
    try {
      handler(std::move(request), reply);
    } catch (const std::exception& e) {
      spdlog::error("a handler failed: {}", e.what());
      reply->send(error_response(internal_error("The server failed to handle the request.")));
    }
  }

  // Writes what the reply's producers give, and tells them when the client goes away.
  net::awaitable<bool> send_answer(Reply& reply) {
    if (reply.is_complete()) co_return co_await write_out(reply);
    const auto outcome = co_await (write_out(reply) || watch_disconnect(lowest().socket()));
    const bool written = outcome.index() == 0 && std::get<0>(outcome);
    if (!written) reply.client_gone();
    co_return written;
  }

  // How many bytes the socket has taken without waiting: nearly always all, and then a token needs
  // neither a timer nor another turn of the event loop. Errors are left to the write that waits.
  size_t write_at_once(std::string_view bytes) {
    if constexpr (std::is_same_v<Stream, beast::tcp_stream>) {
      beast::error_code error;
      const size_t count = lowest().socket().write_some(net::buffer(bytes), error);
      return error ? 0 : count;
    }
    return 0;
  }

  net::awaitable<bool> write_out(Reply& reply) {
    for (;;) {
      const Reply::Piece piece = co_await reply.next();
      const std::string_view rest =
          std::string_view(piece.bytes).substr(write_at_once(piece.bytes));
      if (!rest.empty()) {
        lowest().expires_after(duration(options_.write_timeout_s));
        const auto [error, count] = co_await net::async_write(stream_, net::buffer(rest), kUse);
        if (error) co_return false;
      }
      if (piece.ended) co_return true;
    }
  }

  // Closing with unread input would reset the connection before the client has read the answer.
  net::awaitable<void> linger() {
    constexpr int64_t kMost = 1 << 20;
    beast::error_code ignored;
    lowest().socket().shutdown(tcp::socket::shutdown_send, ignored);
    lowest().expires_after(std::chrono::seconds(2));
    std::vector<char> sink(16 << 10);
    for (int64_t total = 0; total < kMost;) {
      const auto [error, count] = co_await lowest().async_read_some(net::buffer(sink), kUse);
      if (error) co_return;
      total += static_cast<int64_t>(count);
    }
  }

  const ServerContextPtr context_;
  const HttpServerOptions& options_;
  Stream stream_;
  std::optional<Registered> registered_;  // none once a WebSocket has taken the stream
  beast::flat_buffer buffer_;
  bool linger_ = false;
  bool reset_ = false;
};

}  // namespace

net::awaitable<void> serve_connection(ServerContextPtr context, tcp::socket socket) {
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.non_blocking(true, ignored);
  if (context->tls) {
    Connection<beast::ssl_stream<beast::tcp_stream>> connection(
        context,
        beast::ssl_stream<beast::tcp_stream>(beast::tcp_stream(std::move(socket)), *context->tls));
    co_await connection.run();
  } else {
    Connection<beast::tcp_stream> connection(context, beast::tcp_stream(std::move(socket)));
    co_await connection.run();
  }
}

}  // namespace tutti::serve
