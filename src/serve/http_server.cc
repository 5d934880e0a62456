#include "serve/http_server.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>
#include <thread>

#include "base/log.h"
#include "base/thread.h"
#include "serve/api_error.h"
#include "serve/connection.h"
#include "serve/http_date.h"

namespace tutti::serve {

void ServerContext::enter(Closable* connection) {
  const std::lock_guard lock(mutex_);
  open_.insert(connection);
}

void ServerContext::leave(Closable* connection) {
  const std::lock_guard lock(mutex_);
  open_.erase(connection);
  changed_.notify_all();
}

int64_t ServerContext::connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(open_.size());
}

void ServerContext::close_all(bool idle_only) {
  const std::lock_guard lock(mutex_);
  for (Closable* connection : open_) connection->close(idle_only);
}

bool ServerContext::wait_empty(double seconds) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                           [&] { return open_.empty(); });
}

namespace {

constexpr double kCutTimeout_s = 2;

// Says why, as far as the socket takes it at once.
void refuse(tcp::socket& socket) {
  HttpResponse busy = error_response(
      Status(unavailable("The server has as many connections as it takes.")).with_retry_after(1));
  std::string answer = fmt::format(
      "HTTP/1.1 {} Service Unavailable\r\nDate: {}\r\nContent-Type: {}\r\n"
      "Content-Length: {}\r\nConnection: close\r\n",
      busy.status, http_date_now(), busy.content_type, busy.body.size());
  for (const auto& [name, value] : busy.headers) answer += name + ": " + value + "\r\n";
  answer += "\r\n" + busy.body;
  boost::system::error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(net::buffer(answer), ignored);
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}

net::awaitable<void> accept_loop(ServerContextPtr context, tcp::acceptor& acceptor) {
  for (;;) {
    tcp::socket socket(net::make_strand(context->io));
    const auto [error] = co_await acceptor.async_accept(socket, net::as_tuple(net::use_awaitable));
    if (!acceptor.is_open()) co_return;
    if (error) {
      // Out of descriptors, most likely: give others time to end.
      net::steady_timer pause(acceptor.get_executor(), std::chrono::milliseconds(100));
      co_await pause.async_wait(net::as_tuple(net::use_awaitable));
      continue;
    }
    if (context->connections() >= context->options.max_connections) {
      if (!context->tls) refuse(socket);
      continue;  // closes it
    }
    auto strand = socket.get_executor();
    net::co_spawn(strand, serve_connection(context, std::move(socket)), net::detached);
  }
}

// Null when the files are not given.
Result<std::unique_ptr<net::ssl::context>> make_tls(const HttpServerOptions& options) {
  if (options.tls_cert_file.empty() && options.tls_key_file.empty())
    return std::unique_ptr<net::ssl::context>();
  if (options.tls_cert_file.empty() != options.tls_key_file.empty()) {
    return invalid_argument("TLS needs both a certificate and a key; one is missing.")
        .with_param(options.tls_cert_file.empty() ? "tls-cert" : "tls-key");
  }
  auto tls = std::make_unique<net::ssl::context>(net::ssl::context::tls_server);
  boost::system::error_code error;
  tls->set_options(net::ssl::context::default_workarounds | net::ssl::context::no_sslv2 |
                       net::ssl::context::no_sslv3 | net::ssl::context::no_tlsv1 |
                       net::ssl::context::no_tlsv1_1,
                   error);
  tls->use_certificate_chain_file(options.tls_cert_file, error);
  if (error) {
    return invalid_argument(fmt::format("{} is no PEM certificate chain that can be read: {}.",
                                        options.tls_cert_file, error.message()))
        .with_param("tls-cert");
  }
  tls->use_private_key_file(options.tls_key_file, net::ssl::context::pem, error);
  if (error) {
    return invalid_argument(fmt::format("{} is no PEM key that fits the certificate: {}.",
                                        options.tls_key_file, error.message()))
        .with_param("tls-key");
  }
  return tls;
}

class Server final : public HttpServer {
 public:
  explicit Server(ServerContextPtr context)
      : context_(std::move(context)), acceptor_(net::make_strand(context_->io)) {}
  ~Server() override { stop(0); }

  Status open() {
    const HttpServerOptions& options = context_->options;
    TUTTI_ASSIGN_OR_RETURN(context_->tls, make_tls(options));
    boost::system::error_code error;
    tcp::resolver resolver(context_->io);
    const auto found =
        resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
    if (error || found.empty()) {
      return invalid_argument(fmt::format("The host '{}' has no address to listen on: {}.",
                                          options.host, error.message()))
          .with_param("host");
    }
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(net::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(net::socket_base::max_listen_connections, error);
    if (error) {
      return unavailable(fmt::format("Port {} of {} cannot be listened on: {}.", options.port,
                                     options.host, error.message()));
    }
    port_ = acceptor_.local_endpoint(error).port();
    net::co_spawn(acceptor_.get_executor(), accept_loop(context_, acceptor_), net::detached);
    for (int32_t i = 0; i < std::max(1, options.num_threads); ++i) {
      threads_.emplace_back([this, i] {
        set_thread_name(fmt::format("http-{}", i));
        context_->io.run();
      });
    }
    return {};
  }

  uint16_t port() const override { return port_; }
  int64_t connections() const override { return context_->connections(); }

  void stop(double grace_s) override {
    if (threads_.empty()) return;
    context_->stopping.store(true);
    net::post(acceptor_.get_executor(), [this] {
      boost::system::error_code ignored;
      acceptor_.close(ignored);
    });
    context_->close_all(/*idle_only=*/true);
    if (!context_->wait_empty(grace_s)) {
      context_->close_all(/*idle_only=*/false);
      if (!context_->wait_empty(kCutTimeout_s)) spdlog::warn("connections are left behind");
    }
    context_->handlers.stop();  // handlers borrow the router
    context_->io.stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    // What was posted late holds the context that holds the queue: let go of it.
    context_->io.restart();
    context_->io.poll();
  }

 private:
  const ServerContextPtr context_;
  tcp::acceptor acceptor_;  // on a strand: the loop uses it, and stop() closes it
  uint16_t port_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace

Status check_tls(const HttpServerOptions& options) { return make_tls(options).status(); }

Result<std::unique_ptr<HttpServer>> HttpServer::start(const Router& router,
                                                      HttpServerOptions options) {
  auto server =
      std::make_unique<Server>(std::make_shared<ServerContext>(router, std::move(options)));
  TUTTI_RETURN_IF_ERROR(server->open());
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace tutti::serve
