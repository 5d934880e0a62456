#include "orchestrator/otlp_exporter.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

#include "base/log.h"
#include "base/thread.h"

namespace tutti {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;
using asio::ip::tcp;

constexpr Duration kSendTimeout = std::chrono::seconds(5);
constexpr Duration kFlushTimeout = std::chrono::seconds(2);
constexpr size_t kMostInBatch = 512;

// 64-bit numbers are strings in protobuf's JSON form.
json::object attribute_value(const SpanValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return {{"stringValue", *text}};
  if (const auto* whole = std::get_if<int64_t>(&value)) {
    return {{"intValue", std::to_string(*whole)}};
  }
  if (const auto* number = std::get_if<double>(&value)) return {{"doubleValue", *number}};
  json::array values;
  for (const std::string& text : std::get<std::vector<std::string>>(value)) {
    values.push_back(json::object{{"stringValue", text}});
  }
  return {{"arrayValue", json::object{{"values", std::move(values)}}}};
}

json::object attribute(const std::string& key, const SpanValue& value) {
  return {{"key", key}, {"value", attribute_value(value)}};
}

json::object span_json(const Span& span) {
  json::object out{{"traceId", span.trace_id},
                   {"spanId", span.span_id},
                   {"name", span.name},
                   {"kind", static_cast<int>(span.kind)},
                   {"startTimeUnixNano", std::to_string(span.begin_ns)},
                   {"endTimeUnixNano", std::to_string(span.end_ns)}};
  if (!span.parent_span_id.empty()) out.emplace("parentSpanId", span.parent_span_id);
  if (!span.trace_state.empty()) out.emplace("traceState", span.trace_state);
  json::array attributes;
  for (const auto& [key, value] : span.attributes) attributes.push_back(attribute(key, value));
  out.emplace("attributes", std::move(attributes));
  constexpr int kError = 2;
  if (!span.error.empty()) {
    out.emplace("status", json::object{{"code", kError}, {"message", span.error}});
  }
  return out;
}

// One POST on a connection of its own, as a chain of callbacks that ends with `taken`.
class Post : public std::enable_shared_from_this<Post> {
 public:
  Post(asio::io_context& io, const std::string& host, const std::string& target, std::string body)
      : resolver_(io), stream_(io), request_(http::verb::post, target, 11) {
    request_.set(http::field::host, host);
    request_.set(http::field::content_type, "application/json");
    request_.set(http::field::connection, "close");
    request_.body() = std::move(body);
    request_.prepare_payload();
  }

  void start(const std::string& host, const std::string& port, TimePoint deadline) {
    stream_.expires_at(deadline);
    resolver_.async_resolve(host, port,
                            [self = shared_from_this()](beast::error_code error, auto addresses) {
                              if (!error) self->connect(addresses);
                            });
  }
  bool taken() const { return taken_; }

 private:
  void connect(const tcp::resolver::results_type& addresses) {
    stream_.async_connect(addresses,
                          [self = shared_from_this()](beast::error_code error, const auto&) {
                            if (!error) self->write();
                          });
  }
  void write() {
    http::async_write(stream_, request_,
                      [self = shared_from_this()](beast::error_code error, size_t) {
                        if (!error) self->read();
                      });
  }
  void read() {
    http::async_read(stream_, buffer_, response_,
                     [self = shared_from_this()](beast::error_code error, size_t) {
                       const auto status = self->response_.result_int();
                       self->taken_ = !error && status >= 200 && status < 300;
                     });
  }

  tcp::resolver resolver_;
  beast::tcp_stream stream_;
  http::request<http::string_body> request_;
  beast::flat_buffer buffer_;
  http::response<http::string_body> response_;
  bool taken_ = false;
};

}  // namespace

std::string otlp_json(const std::vector<Span>& spans) {
  json::array all;
  for (const Span& span : spans) all.push_back(span_json(span));
  const json::object scope{{"scope", json::object{{"name", "tutti"}}}, {"spans", std::move(all)}};
  const json::array resource{attribute("service.name", std::string("tutti"))};
  const json::object resource_spans{{"resource", json::object{{"attributes", resource}}},
                                    {"scopeSpans", json::array{scope}}};
  return json::serialize(json::object{{"resourceSpans", json::array{resource_spans}}});
}

Result<OtlpExporter::Endpoint> OtlpExporter::parse(const std::string& endpoint) {
  const auto wrong = [&] {
    return invalid_argument("`otlp_endpoint` is '" + endpoint +
                            "'; it must be http://HOST:PORT/PATH, as in "
                            "http://localhost:4318/v1/traces.")
        .with_param("otlp_endpoint");
  };
  constexpr std::string_view kScheme = "http://";
  if (!endpoint.starts_with(kScheme)) return wrong();
  const std::string rest = endpoint.substr(kScheme.size());
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string authority = rest.substr(0, slash);
  Endpoint parts{authority, "80", slash < rest.size() ? rest.substr(slash) : "/v1/traces"};
  if (const size_t colon = authority.rfind(':');
      colon != std::string::npos && !authority.ends_with(']')) {
    parts.host = authority.substr(0, colon);
    parts.port = authority.substr(colon + 1);
  }
  if (parts.host.starts_with('[') && parts.host.ends_with(']')) {
    parts.host = parts.host.substr(1, parts.host.size() - 2);
  }
  const bool digits = !parts.port.empty() && parts.port.size() <= 5 &&
                      std::all_of(parts.port.begin(), parts.port.end(),
                                  [](char c) { return c >= '0' && c <= '9'; });
  if (parts.host.empty() || !digits) return wrong();
  return parts;
}

Result<std::unique_ptr<OtlpExporter>> OtlpExporter::create(const std::string& endpoint) {
  TUTTI_ASSIGN_OR_RETURN(Endpoint parts, parse(endpoint));
  return std::unique_ptr<OtlpExporter>(new OtlpExporter(std::move(parts)));
}

OtlpExporter::OtlpExporter(Endpoint endpoint) : endpoint_(std::move(endpoint)) {
  thread_ = std::thread([this] { loop(); });
}

OtlpExporter::~OtlpExporter() {
  flush_until_.store(Clock::steady().now() + kFlushTimeout);
  queue_.close();
  thread_.join();
}

void OtlpExporter::add(Span span) {
  if (queue_.try_push(std::move(span)) != QueueResult::kOk) ++dropped_;
}

void OtlpExporter::loop() {
  set_thread_name("otlp");
  bool warned = false;
  std::vector<Span> waiting;
  while (queue_.pop_all(waiting, Deadline::never()) > 0) {
    for (size_t first = 0; first < waiting.size(); first += kMostInBatch) {
      const size_t end = std::min(first + kMostInBatch, waiting.size());
      const std::vector<Span> batch(std::make_move_iterator(waiting.begin() + first),
                                    std::make_move_iterator(waiting.begin() + end));
      const TimePoint now = Clock::steady().now();
      const TimePoint until = std::min(now + kSendTimeout, flush_until_.load());
      if (now < until && send(batch, Deadline::at(until))) {
        exported_ += static_cast<int64_t>(batch.size());
        continue;
      }
      dropped_ += static_cast<int64_t>(batch.size());
      if (!std::exchange(warned, true)) {
        spdlog::warn("The collector at {}:{} does not take spans; they are dropped.",
                     endpoint_.host, endpoint_.port);
      }
    }
    waiting.clear();
  }
}

bool OtlpExporter::send(const std::vector<Span>& batch, Deadline deadline) const {
  try {
    asio::io_context io;
    const auto post =
        std::make_shared<Post>(io, endpoint_.host, endpoint_.target, otlp_json(batch));
    post->start(endpoint_.host, endpoint_.port, deadline.time());
    io.run_until(deadline.time());
    return post->taken();
  } catch (const std::exception& error) {
    spdlog::debug("Sending spans failed: {}", error.what());
    return false;
  }
}

}  // namespace tutti
