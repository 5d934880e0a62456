// TraceContext: W3C trace context (https://www.w3.org/TR/trace-context/) of a request.
//
// Thread: values.
#pragma once

#include <map>
#include <string>

namespace tutti {

struct TraceContext {
  std::string trace_id;        // 32 lower-case hex digits, not all zero
  std::string parent_span_id;  // 16, the caller's span; empty: this side begins the trace
  std::string trace_state;     // passed on as it came
  bool sampled = true;
};

// From the headers `traceparent` and `tracestate` (names compare case-insensitively). One that is
// missing or malformed begins a new, sampled trace, as the recommendation wants.
TraceContext trace_context(const std::map<std::string, std::string>& headers);

// 16 random hex digits, not all zero.
std::string new_span_id();

}  // namespace tutti
