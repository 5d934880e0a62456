// Trace files and OpenTelemetry spans, and the recorder and exporter below them.
#include "orchestrator/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "orchestrator/testing/engine_fixture.h"

namespace tutti::fake {
namespace {

namespace http = boost::beast::http;
namespace json = boost::json;
using boost::asio::ip::tcp;
using testing::Contains;
using testing::HasSubstr;

constexpr const char* kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr const char* kParent = "00f067aa0ba902b7";

// A collector on a free port of this machine.
class Collector {
 public:
  explicit Collector(http::status answer = http::status::ok) : answer_(answer) {
    thread_ = std::thread([this] { serve(); });
  }
  ~Collector() {
    stopping_ = true;
    boost::asio::io_context io;
    tcp::socket wake(io);
    boost::system::error_code ignored;
    wake.connect(acceptor_.local_endpoint(), ignored);
    thread_.join();
  }
  std::string endpoint() const {
    return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()) + "/v1/traces";
  }
  std::vector<json::object> spans() {
    const std::lock_guard lock(mutex_);
    return spans_;
  }

 private:
  void serve() {
    while (true) {
      tcp::socket socket = acceptor_.accept();
      if (stopping_) return;
      boost::beast::flat_buffer buffer;
      http::request<http::string_body> request;
      boost::system::error_code error;
      http::read(socket, buffer, request, error);
      if (!error) take(request);
      http::response<http::string_body> response(answer_, request.version());
      response.body() = "{}";
      response.prepare_payload();
      http::write(socket, response, error);
    }
  }
  void take(const http::request<http::string_body>& request) {
    EXPECT_EQ(request.target(), "/v1/traces");
    EXPECT_EQ(request[http::field::content_type], "application/json");
    const json::value body = json::parse(request.body());
    const json::value& scope = body.at("resourceSpans").at(0).at("scopeSpans").at(0);
    const std::lock_guard lock(mutex_);
    for (const json::value& span : scope.at("spans").as_array()) spans_.push_back(span.as_object());
  }

  const http::status answer_;
  boost::asio::io_context io_;
  tcp::acceptor acceptor_{io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<json::object> spans_;
  std::thread thread_;
};

json::object attributes_of(const json::object& span) {
  json::object out;
  for (const json::value& attribute : span.at("attributes").as_array()) {
    out[attribute.at("key").as_string()] = attribute.at("value").as_object().begin()->value();
  }
  return out;
}

// Fake stages report no times; these do, as real engines do.
class TimedEngine final : public StageEngine {
 public:
  TimedEngine(std::unique_ptr<StageEngine> inner, TimePoint epoch)
      : inner_(std::move(inner)), epoch_(epoch) {}
  Status admit(StageRequest request) override {
    StageMetrics& metrics = metrics_[request.key.value];
    metrics.submitted_s = now();
    metrics.transfer_s = 1000;  // of all chunks: more than the engine is old
    metrics.prompt_tokens = 5;
    return inner_->admit(std::move(request));
  }
  void append(StageChunk chunk) override { inner_->append(std::move(chunk)); }
  std::optional<StageOutput> abort(RequestKey key) override { return inner_->abort(key); }
  bool has_runnable_work() const override { return inner_->has_runnable_work(); }
  void step(std::vector<StageOutput>& outputs) override {
    const double begin = now();
    inner_->step(outputs);
    for (StageOutput& output : outputs) {
      StageMetrics& metrics = metrics_[output.key.value];
      if (metrics.first_scheduled_s == 0) metrics.first_scheduled_s = begin;
      if (metrics.first_output_s == 0) metrics.first_output_s = now();
      metrics.output_tokens += static_cast<int64_t>(output.delta.token_ids.size());
      metrics.compute_s += now() - begin;
      if (output.finished) metrics.finished_s = now();
      output.metrics = metrics;
    }
  }
  EngineStats stats() const override { return inner_->stats(); }

 private:
  double now() const { return to_seconds(Clock::steady().now() - epoch_); }
  const std::unique_ptr<StageEngine> inner_;
  const TimePoint epoch_;
  std::map<uint64_t, StageMetrics> metrics_;
};

class TimelineTest : public EngineFixture {
 protected:
  void start_timed(EngineOptions options) {
    EngineParts parts = fake_parts(omni_specs());
    for (StageParts& stage : parts.stages) {
      stage.load = [load = stage.load, epoch = parts.epoch](const ReportProgress& report) {
        Result<LoadedStage> loaded = load(report);
        loaded->engine = std::make_unique<TimedEngine>(std::move(loaded->engine), epoch);
        return loaded;
      };
    }
    start_parts(std::move(parts), std::move(options));
  }
  static std::string temporary(const char* name) { return testing::TempDir() + name; }
};

TEST_F(TimelineTest, TraceOutIsAChromeTraceOfEveryStage) {
  EngineOptions options;
  options.trace_out = temporary("timeline.json");
  start_timed(options);
  ASSERT_TRUE(engine_->add_request(request("a \"quoted\"", 6)).ok());
  read_until_end("a \"quoted\"");
  engine_->shutdown();
  std::ifstream in(options.trace_out);
  std::stringstream text;
  text << in.rdbuf();
  const json::value trace = json::parse(text.str());
  std::set<std::string> rows, spans, instants;
  for (const json::value& event : trace.at("traceEvents").as_array()) {
    const std::string name(event.at("name").as_string());
    const std::string phase(event.at("ph").as_string());
    if (name == "process_name") rows.emplace(event.at("args").at("name").as_string());
    const std::string where = std::to_string(event.at("pid").as_int64());
    if (phase == "b") {
      EXPECT_EQ(event.at("args").at("request").as_string(), "a \"quoted\"");
      EXPECT_GE(event.at("ts").to_number<double>(), 0) << name;
      if (name == "transfer") {
        EXPECT_EQ(event.at("args").at("all_chunks_s").to_number<double>(), 1000);
      }
      spans.insert(name + where);
    }
    if (phase == "i") instants.insert(name + where);
  }
  EXPECT_EQ(rows,
            (std::set<std::string>{"stage 0 (thinker)", "stage 1 (talker)", "stage 2 (code2wav)"}));
  for (const char* span : {"queue0", "compute0", "transfer1", "compute1", "queue2", "compute2"}) {
    EXPECT_THAT(spans, Contains(span));
  }
  EXPECT_THAT(instants, Contains("first token0"));
}

TEST_F(TimelineTest, AnUnwritableTraceFileIsAnErrorAtTheStart) {
  EngineOptions options;
  options.trace_out = "/no/such/directory/trace.json";
  const auto engine = start_engine(fake_parts(omni_specs()), options);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().param(), "trace_out");
}

TEST_F(TimelineTest, SpansOfEveryStageJoinTheCallersTrace) {
  Collector collector;
  EngineOptions options;
  options.otlp_endpoint = collector.endpoint();
  start_timed(options);
  AddRequest mine = request("a", 6);
  mine.trace_headers = {{"traceparent", std::string("00-") + kTrace + "-" + kParent + "-01"},
                        {"tracestate", "vendor=1"}};
  mine.prompt_text = std::string(1023, 'x') + "\u00e9" + "y";
  ASSERT_TRUE(engine_->add_request(mine).ok());
  read_until_end("a");
  engine_.reset();  // flushes
  std::map<std::string, json::object> by_name;
  for (const json::object& span : collector.spans()) {
    EXPECT_EQ(span.at("traceId").as_string(), kTrace);
    by_name[std::string(span.at("name").as_string())] = span;
  }
  ASSERT_TRUE(by_name.contains("llm_request"));
  const json::object root = by_name["llm_request"];
  EXPECT_EQ(root.at("parentSpanId").as_string(), kParent);
  EXPECT_EQ(root.at("traceState").as_string(), "vendor=1");
  EXPECT_EQ(root.at("kind").as_int64(), 2);
  const json::object about = attributes_of(root);
  EXPECT_EQ(about.at("gen_ai.request.id").as_string(), "a");
  EXPECT_EQ(about.at("gen_ai.request.model").as_string(), "fake");
  EXPECT_EQ(about.at("gen_ai.prompt").as_string(), std::string(1023, 'x')) << "whole characters";
  EXPECT_EQ(about.at("gen_ai.usage.output_tokens").as_string(), "6");
  EXPECT_EQ(about.at("gen_ai.usage.completion_tokens").as_string(), "6");
  EXPECT_GT(about.at("gen_ai.latency.e2e").as_double(), 0);
  const json::object transfer = attributes_of(by_name["talker transfer"]);
  EXPECT_EQ(transfer.at("tutti.latency.transfer_all_chunks").as_double(), 1000);
  const auto begin_of = [&](const char* name) {
    return std::stoll(std::string(by_name[name].at("startTimeUnixNano").as_string()));
  };
  EXPECT_GE(begin_of("talker transfer"), begin_of("thinker compute")) << "the first chunk's alone";
  for (const char* name : {"thinker queue", "thinker compute", "talker transfer", "talker compute",
                           "code2wav queue", "code2wav compute"}) {
    ASSERT_TRUE(by_name.contains(name)) << name;
    const json::object& span = by_name[name];
    EXPECT_EQ(span.at("parentSpanId").as_string(), root.at("spanId").as_string()) << name;
    EXPECT_LE(std::stoll(std::string(span.at("startTimeUnixNano").as_string())),
              std::stoll(std::string(span.at("endTimeUnixNano").as_string())));
  }
}

TEST_F(TimelineTest, AnUnsampledTraceIsNotExported) {
  Collector collector;
  EngineOptions options;
  options.otlp_endpoint = collector.endpoint();
  start_timed(options);
  AddRequest mine = request("a", 2);
  mine.trace_headers = {{"traceparent", std::string("00-") + kTrace + "-" + kParent + "-00"}};
  ASSERT_TRUE(engine_->add_request(mine).ok());
  read_until_end("a");
  engine_.reset();
  EXPECT_TRUE(collector.spans().empty());
}

TEST_F(TimelineTest, AFailedRequestsSpanHasItsError) {
  Collector collector;
  EngineOptions options;
  options.otlp_endpoint = collector.endpoint();
  FakeOptions talker;
  talker.fault = [](RequestKey, int32_t) { return Fault::kStepError; };
  start({{}, talker, {}}, options);
  ASSERT_TRUE(engine_->add_request(request("a", 2)).ok());
  read_until_end("a");
  engine_.reset();
  ASSERT_FALSE(collector.spans().empty());
  const json::object root = collector.spans().back();
  EXPECT_EQ(root.at("status").at("code").as_int64(), 2);
  EXPECT_THAT(std::string(root.at("status").at("message").as_string()), HasSubstr("step broke"));
}

TEST_F(TimelineTest, ACollectorThatFailsCostsSpansAndNothingElse) {
  Collector collector(http::status::internal_server_error);
  EngineOptions options;
  options.otlp_endpoint = collector.endpoint();
  start_timed(options);
  ASSERT_TRUE(engine_->add_request(request("a", 2)).ok());
  EXPECT_TRUE(read_until_end("a").error.ok());
  while (engine_->stats().spans_dropped == 0) std::this_thread::yield();
  EXPECT_EQ(engine_->stats().spans_exported, 0);
}

TEST(OtlpExporter, WrongEndpointsAreRefused) {
  for (const char* wrong : {"https://host/v1", "host:4318", "http://", "http://host:port/x",
                            "http://:4318/v1", "http://host:123456/v1"}) {
    const auto exporter = OtlpExporter::create(wrong);
    ASSERT_FALSE(exporter) << wrong;
    EXPECT_THAT(exporter.error().message(), HasSubstr("http://HOST:PORT/PATH"));
  }
}

TEST(TraceRecorder, KeepsTheLatestEventsAndCountsTheOthers) {
  TraceRecorder recorder(3, Clock::steady().now());
  recorder.instant({0, 0}, "off", 0);
  EXPECT_EQ(recorder.size(), 0u);
  recorder.set_enabled(true);
  for (int i = 0; i < 5; ++i) recorder.instant({0, 0}, "e" + std::to_string(i), 5.0 - i);
  EXPECT_EQ(recorder.size(), 3u);
  EXPECT_EQ(recorder.dropped(), 2);
  const json::value trace = json::parse(recorder.to_json());
  const json::array& events = trace.at("traceEvents").as_array();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].at("name").as_string(), "e4") << "in the order of time";
  recorder.clear();
  EXPECT_EQ(recorder.size(), 0u);
}

}  // namespace
}  // namespace tutti::fake
