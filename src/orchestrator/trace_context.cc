#include "orchestrator/trace_context.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/seed.h"
#include "base/strings.h"

namespace tutti {
namespace {

constexpr size_t kVersionDigits = 2, kTraceDigits = 32, kSpanDigits = 16, kFlagDigits = 2;
constexpr size_t kLength = kVersionDigits + 1 + kTraceDigits + 1 + kSpanDigits + 1 + kFlagDigits;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;  // upper case is not allowed
}

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return hex_value(c) >= 0; });
}

bool is_zero(std::string_view text) { return text.find_first_not_of('0') == text.npos; }

std::string random_hex(size_t digits) {
  std::string out;
  do {
    out.clear();
    while (out.size() < digits) out += fmt::format("{:016x}", draw_seed());
    out.resize(digits);
  } while (is_zero(out));
  return out;
}

std::string header(const std::map<std::string, std::string>& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (ascii_lower(key) == name) return value;
  }
  return {};
}

// False, and `context` unchanged, when it is malformed.
bool parse_traceparent(std::string_view text, TraceContext& context) {
  if (text.size() < kLength) return false;
  const std::string_view version = text.substr(0, kVersionDigits);
  const std::string_view trace = text.substr(kVersionDigits + 1, kTraceDigits);
  const std::string_view span = text.substr(kVersionDigits + kTraceDigits + 2, kSpanDigits);
  const std::string_view flags = text.substr(kLength - kFlagDigits, kFlagDigits);
  const bool dashes = text[kVersionDigits] == '-' &&
                      text[kVersionDigits + kTraceDigits + 1] == '-' &&
                      text[kLength - kFlagDigits - 1] == '-';
  if (!dashes || !is_hex(version) || !is_hex(trace) || !is_hex(span) || !is_hex(flags)) {
    return false;
  }
  // Later versions may append fields; version 00 has none, and ff is not a version.
  const bool longer = text.size() > kLength;
  if (version == "ff" || (longer && (version == "00" || text[kLength] != '-'))) return false;
  if (is_zero(trace) || is_zero(span)) return false;
  context.trace_id = trace;
  context.parent_span_id = span;
  context.sampled = (hex_value(flags[1]) & 1) != 0;
  return true;
}

}  // namespace

TraceContext trace_context(const std::map<std::string, std::string>& headers) {
  TraceContext context;
  if (parse_traceparent(header(headers, "traceparent"), context)) {
    context.trace_state = header(headers, "tracestate");
  } else {
    context.trace_id = random_hex(kTraceDigits);
  }
  return context;
}

std::string new_span_id() { return random_hex(kSpanDigits); }

}  // namespace tutti
