#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "apps/bench_serve/answer_reader.h"
#include "apps/bench_serve/connection.h"

namespace tutti::bench {

namespace http = beast::http;

namespace {

constexpr uint32_t kMostHeaderBytes = 64 << 10;
constexpr size_t kMostErrorBytes = 64 << 10;  // of an answer that is no 200
constexpr size_t kMostListBytes = 16 << 20;   // of a GET's answer
constexpr size_t kReadBytes = 64 << 10;

struct Call {
  http::verb method = http::verb::get;
  std::string path;
  std::string body;
};

// Where an answer goes while it arrives.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual Status head(std::string_view content_type) = 0;
  virtual Status body(std::string_view bytes) = 0;
};

http::request<http::string_body> make_request(const Target& target, Call call) {
  http::request<http::string_body> request(call.method, call.path, 11);
  request.set(http::field::host, target.url.host_header());
  request.set(http::field::user_agent, "tutti-bench");
  request.set(http::field::accept_encoding, "identity");
  request.set(http::field::connection, "close");
  for (const auto& [name, value] : target.headers) request.set(name, value);
  if (call.method == http::verb::post) {
    request.set(http::field::content_type, "application/json");
    request.body() = std::move(call.body);
    request.prepare_payload();
  }
  return request;
}

template <typename Stream>
net::awaitable<Status> exchange(const Target& target, Stream& stream, Call call, Sink& sink) {
  beast::get_lowest_layer(stream).expires_after(duration(target.timeout_s));
  const Status connected = co_await connect(target, stream);
  if (!connected.ok()) co_return connected;
  const auto request = make_request(target, std::move(call));
  const auto [unsent, sent] = co_await http::async_write(stream, request, kUse);
  if (unsent) co_return network_error(target, "The request could not be sent", unsent);
  http::response_parser<http::buffer_body> parser;
  parser.header_limit(kMostHeaderBytes);
  parser.body_limit(boost::none);
  beast::flat_buffer buffer;
  const auto [unread, read] = co_await http::async_read_header(stream, buffer, parser, kUse);
  if (unread) co_return network_error(target, "The server gave no HTTP answer", unread);
  const auto& head = parser.get();
  const unsigned status = head.result_int();
  if (status == 200) {
    const Status known = sink.head(head[http::field::content_type]);
    if (!known.ok()) co_return known;
  }
  std::string problem;  // the body of an answer that is no 200
  std::vector<char> piece(kReadBytes);
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    auto [error, count] = co_await http::async_read_some(stream, buffer, parser, kUse);
    if (error == http::error::need_buffer) error = {};
    if (error) co_return network_error(target, "The answer broke off", error);
    const std::string_view bytes(piece.data(), piece.size() - parser.get().body().size);
    if (status != 200) {
      problem.append(bytes.substr(0, kMostErrorBytes - std::min(kMostErrorBytes, problem.size())));
    } else if (!bytes.empty()) {
      const Status taken = sink.body(bytes);
      if (!taken.ok()) co_return taken;
    }
  }
  if (status != 200) {
    co_return internal_error(fmt::format("HTTP {}: {}", status, error_sentence(problem)));
  }
  co_return Status();
}

net::awaitable<Status> exchange(const Target& target, Call call, Sink& sink) {
  const auto executor = co_await net::this_coro::executor;
  if (target.tls) {
    TlsStream stream(executor, *target.tls);
    co_return co_await exchange(target, stream, std::move(call), sink);
  }
  PlainStream stream(executor);
  co_return co_await exchange(target, stream, std::move(call), sink);
}

class TextSink final : public Sink {
 public:
  Status head(std::string_view) override { return {}; }
  Status body(std::string_view bytes) override {
    if (text.size() + bytes.size() > kMostListBytes) {
      return invalid_argument("The answer has no end.");
    }
    text.append(bytes);
    return {};
  }
  std::string text;
};

class MeasuringSink final : public Sink {
 public:
  MeasuringSink(const Target& target, Measurement& measurement)
      : target_(target), measurement_(measurement) {}
  Status head(std::string_view content_type) override {
    TUTTI_ASSIGN_OR_RETURN(reader_, make_answer_reader(content_type));
    return {};
  }
  Status body(std::string_view bytes) override {
    return reader_->feed(bytes, target_.now_s(), measurement_);
  }

 private:
  const Target& target_;
  Measurement& measurement_;
  std::unique_ptr<AnswerReader> reader_;
};

}  // namespace

std::string Target::path(std::string_view endpoint) const {
  std::string base = url.target.substr(0, url.target.find('?'));
  while (base.ends_with('/')) base.pop_back();
  return base.append(endpoint);
}

Result<Target> make_target(const LoadOptions& options) {
  Target target;
  target.url = options.url;
  target.headers = options.headers;
  target.timeout_s = options.request_timeout_s;
  target.epoch = SteadyClock::now();
  if (!options.api_key.empty()) {
    target.headers.emplace_back("Authorization", "Bearer " + options.api_key);
  }
  net::io_context io;
  net::ip::tcp::resolver resolver(io);
  beast::error_code error;
  for (const auto& entry : resolver.resolve(options.url.host, options.url.port, error)) {
    target.endpoints.push_back(entry.endpoint());
  }
  if (error || target.endpoints.empty()) {
    return unavailable(
        fmt::format("The host '{}' has no address: {}.", options.url.host, error.message()));
  }
  if (!options.url.secure) return target;
  target.tls = std::make_unique<net::ssl::context>(net::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(target.tls->native_handle(), TLS1_2_VERSION);
  target.tls->set_default_verify_paths(error);
  target.tls->set_verify_mode(options.insecure ? net::ssl::verify_none : net::ssl::verify_peer,
                              error);
  if (!options.insecure) {
    target.tls->set_verify_callback(net::ssl::host_name_verification(options.url.host), error);
  }
  return target;
}

net::awaitable<Result<std::string>> get(const Target& target, std::string path) {
  TextSink sink;
  Call call;
  call.path = std::move(path);
  Status status = co_await exchange(target, std::move(call), sink);
  if (!status.ok()) co_return status;
  co_return std::move(sink.text);
}

net::awaitable<Status> post(const Target& target, std::string path, std::string body,
                            Measurement& measurement) {
  Call call;
  call.method = http::verb::post;
  call.path = std::move(path);
  call.body = std::move(body);
  MeasuringSink sink(target, measurement);
  measurement.begin(target.now_s());
  Status status = co_await exchange(target, std::move(call), sink);
  if (status.ok()) measurement.end(target.now_s());
  co_return status;
}

}  // namespace tutti::bench
