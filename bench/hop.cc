#include "hop.h"

#include <fmt/format.h>
#include <sys/prctl.h>

#include <cstdlib>
#include <sstream>
#include <string_view>
#include <thread>

#include "orchestrator/engine_parts.h"
#include "orchestrator/testing/fake_pipeline.h"
#include "stages/worker_server.h"

namespace tutti::bench {
namespace {

constexpr int32_t kWarmUp = 300;  // chunks

// What the two stages do, as a load spec.
struct Plan {
  int32_t chunks = 0;
  int32_t interval_us = 0;
  int64_t floats = 0;  // of each chunk's tensor; 0: tokens alone

  std::string encode() const { return fmt::format("{} {} {}", chunks, interval_us, floats); }
  static Plan decode(const std::string& text) {
    Plan plan;
    std::istringstream(text) >> plan.chunks >> plan.interval_us >> plan.floats;
    return plan;
  }
};

std::vector<StageSpec> specs() {
  return {fake::fake_spec("upstream", {}), fake::fake_spec("downstream", {0}, "audio")};
}

// Sleeps (its core is free then, as when a device computes), then puts out a chunk with the moment
// of its departure; clocks are the machine's.
class Upstream final : public StageEngine {
 public:
  explicit Upstream(const Plan& plan) : plan_(plan) {
    if (plan.floats > 0) tensor_ = Tensor::zeros({plan.floats});
  }
  Status admit(StageRequest request) override {
    key_ = request.key;
    left_ = plan_.chunks;
    prctl(PR_SET_TIMERSLACK, 1);  // the default of 50 us would be most of a short interval
    return {};
  }
  void append(StageChunk) override {}
  std::optional<StageOutput> abort(RequestKey) override { return std::nullopt; }
  bool has_runnable_work() const override { return left_ > 0; }
  void step(std::vector<StageOutput>& outputs) override {
    std::this_thread::sleep_for(std::chrono::microseconds(plan_.interval_us));
    StageOutput output;
    output.key = key_;
    output.finished = --left_ == 0;
    if (tensor_.defined()) output.payload.tensors["t"] = tensor_;
    const int64_t now = Clock::steady().now().time_since_epoch().count();
    output.payload.token_ids = {static_cast<int32_t>(now & 0x3fffffff),
                                static_cast<int32_t>(now >> 30)};
    outputs.push_back(std::move(output));
  }
  EngineStats stats() const override { return {}; }

 private:
  const Plan plan_;
  Tensor tensor_;
  RequestKey key_;
  int32_t left_ = 0;
};

// Notes how long each chunk was under way, in nanoseconds; puts all of it out at the end.
class Downstream final : public StageEngine {
 public:
  Status admit(StageRequest request) override {
    key_ = request.key;
    take(request.input.payload);
    return {};
  }
  void append(StageChunk chunk) override {
    take(chunk.payload);
    done_ = chunk.last;
  }
  std::optional<StageOutput> abort(RequestKey) override { return std::nullopt; }
  bool has_runnable_work() const override { return done_; }
  void step(std::vector<StageOutput>& outputs) override {
    StageOutput output;
    output.key = key_;
    output.finished = true;
    output.delta.token_ids = std::move(hops_ns_);
    outputs.push_back(std::move(output));
    done_ = false;
  }
  EngineStats stats() const override { return {}; }

 private:
  void take(const StagePayload& payload) {
    const int64_t now = Clock::steady().now().time_since_epoch().count();
    for (size_t i = 0; i + 1 < payload.token_ids.size(); i += 2) {
      const int64_t sent = (int64_t{payload.token_ids[i + 1]} << 30) + payload.token_ids[i];
      hops_ns_.push_back(static_cast<int32_t>(now - sent));
    }
  }
  RequestKey key_;
  std::vector<int32_t> hops_ns_;
  bool done_ = false;
};

std::unique_ptr<StageEngine> make_engine(int32_t stage, const Plan& plan) {
  if (stage == 0) return std::make_unique<Upstream>(plan);
  return std::make_unique<Downstream>();
}

std::vector<double> measure(const Plan& plan, std::optional<ChannelOptions> workers) {
  EngineParts parts;
  parts.model = "fake";
  parts.pipeline = std::make_shared<fake::FakePipeline>(specs());
  for (int32_t stage = 0; stage < 2; ++stage) {
    StageParts of_stage;
    of_stage.load = [=](const ReportProgress&) {
      LoadedStage loaded;
      loaded.engine = make_engine(stage, plan);
      return Result<LoadedStage>(std::move(loaded));
    };
    if (workers) {
      of_stage.worker.emplace();
      of_stage.worker->program = "/proc/self/exe";
      of_stage.worker->load_spec = plan.encode();
      of_stage.worker->channel = *workers;
    }
    parts.stages.push_back(std::move(of_stage));
  }
  auto engine = start_engine(std::move(parts), {});
  if (!engine) std::abort();
  AddRequest request;
  request.request_id = "bench";
  request.prompt = TokensPrompt{{1}};
  if (!(*engine)->add_request(std::move(request)).ok()) std::abort();
  std::vector<double> hops_us;
  for (bool finished = false; !finished;) {
    auto message = (*engine)->try_get_output(120);
    if (!message || !*message) std::abort();
    const auto* output = std::get_if<OutputMessage>(&**message);
    if (!output) continue;
    for (const int32_t ns : output->output.token_ids) hops_us.push_back(1e-3 * ns);
    finished = output->finished;
  }
  hops_us.erase(hops_us.begin(), hops_us.begin() + kWarmUp);
  return hops_us;
}

}  // namespace

std::optional<int> serve_as_worker(int argc, char** argv) {
  if (argc < 2 || !std::string_view(argv[1]).starts_with("--parent=")) return std::nullopt;
  return worker_main(argc, argv, [](const WorkerHello& hello, const WorkerProgressReport&) {
    WorkerStage stage;
    stage.graph = std::make_shared<const StageGraph>(StageGraph::build(specs()).value());
    stage.engine = make_engine(hello.stage, Plan::decode(hello.load_spec));
    return Result<WorkerStage>(std::move(stage));
  });
}

void bench_hops(
    const std::function<void(const std::string& what, std::vector<double> values_us)>& print) {
  ChannelOptions copies, views;
  copies.view_min_bytes = SIZE_MAX;
  views.view_min_bytes = 64 << 10;
  const auto between_threads = [](int32_t chunks, int32_t interval_us) {
    return measure({.chunks = chunks, .interval_us = interval_us}, std::nullopt);
  };
  print("hop, a chunk every 30 us [us]", between_threads(40000, 30));
  print("hop, a chunk every 1000 us [us]", between_threads(3000, 1000));
  const Plan small{.chunks = 4000, .interval_us = 200, .floats = 0};
  const Plan large{.chunks = 2000, .interval_us = 1000, .floats = 1 << 18};
  print("hop between threads, 2 tokens [us]", measure(small, std::nullopt));
  print("hop between workers, 2 tokens [us]", measure(small, copies));
  print("hop between threads, 1 MiB [us]", measure(large, std::nullopt));
  print("hop between workers, 1 MiB, copied out [us]", measure(large, copies));
  print("hop between workers, 1 MiB, viewed [us]", measure(large, views));
}

}  // namespace tutti::bench
