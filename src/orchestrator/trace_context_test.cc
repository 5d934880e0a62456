#include "orchestrator/trace_context.h"

#include <gtest/gtest.h>

namespace tutti {
namespace {

constexpr const char* kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr const char* kSpan = "00f067aa0ba902b7";

std::string parent(const std::string& flags = "01", const std::string& version = "00") {
  return version + "-" + kTrace + "-" + kSpan + "-" + flags;
}

TEST(TraceContext, JoinsTheCallersTrace) {
  const TraceContext context =
      trace_context({{"Traceparent", parent()}, {"TRACESTATE", "vendor=1"}});
  EXPECT_EQ(context.trace_id, kTrace);
  EXPECT_EQ(context.parent_span_id, kSpan);
  EXPECT_EQ(context.trace_state, "vendor=1");
  EXPECT_TRUE(context.sampled);
  EXPECT_FALSE(trace_context({{"traceparent", parent("00")}}).sampled);
  EXPECT_EQ(trace_context({{"traceparent", parent("01", "cc") + "-more"}}).trace_id, kTrace);
}

TEST(TraceContext, AMalformedParentBeginsANewTrace) {
  const std::string zero_trace = "00-" + std::string(32, '0') + "-" + kSpan + "-01";
  const std::string zero_span = std::string("00-") + kTrace + "-" + std::string(16, '0') + "-01";
  std::string upper = parent();
  upper[3] = 'A';
  for (const std::string& wrong :
       {std::string(), std::string("nonsense"), parent("0g"), parent("01", "ff"),
        parent() + "-more", parent().substr(1), zero_trace, zero_span, upper}) {
    const TraceContext context = trace_context({{"traceparent", wrong}, {"tracestate", "v=1"}});
    EXPECT_EQ(context.trace_id.size(), 32u) << wrong;
    EXPECT_NE(context.trace_id, kTrace) << wrong;
    EXPECT_EQ(context.parent_span_id, "") << wrong;
    EXPECT_EQ(context.trace_state, "") << wrong;
    EXPECT_TRUE(context.sampled) << wrong;
  }
  EXPECT_NE(trace_context({}).trace_id, trace_context({}).trace_id);
}

}  // namespace
}  // namespace tutti
