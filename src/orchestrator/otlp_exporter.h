// OtlpExporter: sends spans to an OpenTelemetry collector as OTLP/HTTP JSON, from a thread of its
// own.
//
// Thread: add() from any; never blocks. Invariants: at most kMostQueued spans wait, further ones
// are dropped and counted; the destructor sends what waits within kFlushTimeout.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "tutti/status.h"

#include "base/dual_queue.h"

namespace tutti {

using SpanValue = std::variant<std::string, int64_t, double, std::vector<std::string>>;

struct Span {
  enum class Kind : uint8_t { kInternal = 1, kServer = 2 };  // as OTLP numbers them
  std::string trace_id;                                      // 32 hex digits
  std::string span_id;                                       // 16
  std::string parent_span_id;                                // empty: a root
  std::string trace_state;
  std::string name;
  Kind kind = Kind::kInternal;
  int64_t begin_ns = 0;  // since the Unix epoch
  int64_t end_ns = 0;
  std::vector<std::pair<std::string, SpanValue>> attributes;
  std::string error;  // empty: none
};

// The body of an export request (opentelemetry-proto, ExportTraceServiceRequest in its JSON form).
std::string otlp_json(const std::vector<Span>& spans);

class OtlpExporter {
 public:
  static constexpr size_t kMostQueued = 4096;

  // `endpoint`: "http://HOST[:PORT]/PATH". Errors: another scheme, no host, a bad port.
  static Status check(const std::string& endpoint) { return parse(endpoint).status(); }
  static Result<std::unique_ptr<OtlpExporter>> create(const std::string& endpoint);
  ~OtlpExporter();

  void add(Span span);
  int64_t exported() const { return exported_.load(); }
  int64_t dropped() const { return dropped_.load(); }

 private:
  struct Endpoint {
    std::string host;
    std::string port;
    std::string target;
  };
  static Result<Endpoint> parse(const std::string& endpoint);
  explicit OtlpExporter(Endpoint endpoint);
  void loop();
  // Whether the collector took the batch.
  bool send(const std::vector<Span>& batch, Deadline deadline) const;

  const Endpoint endpoint_;
  DualQueue<Span> queue_{kMostQueued};
  std::atomic<int64_t> exported_{0};
  std::atomic<int64_t> dropped_{0};
  std::atomic<TimePoint> flush_until_{TimePoint::max()};
  std::thread thread_;
};

}  // namespace tutti
