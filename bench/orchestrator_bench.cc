// tutti-bench-orchestrator: what a hop of a chunk from stage to stage costs, with fake stages.
//
// handle: the state machine alone. hop: hop.h.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "hop.h"
#include "orchestrator/orchestrator_thread.h"
#include "orchestrator/testing/fake_pipeline.h"

namespace tutti {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int32_t kBatches = 20000;

double percentile(const std::vector<double>& sorted, double p) {
  return sorted[static_cast<size_t>(p * static_cast<double>(sorted.size() - 1))];
}

// All values, and windows of them: the median of the quietest one and the p99 of the typical one.
// On a machine that others use, p99 over all values says how long they took it away.
void print_row(const std::string& what, std::vector<double> values_us) {
  constexpr size_t kWindow = 500;
  std::vector<double> p50s, p99s;
  for (size_t begin = 0; begin + kWindow <= values_us.size(); begin += kWindow) {
    std::vector<double> window(values_us.begin() + static_cast<ptrdiff_t>(begin),
                               values_us.begin() + static_cast<ptrdiff_t>(begin + kWindow));
    std::sort(window.begin(), window.end());
    p50s.push_back(percentile(window, 0.5));
    p99s.push_back(percentile(window, 0.99));
  }
  std::sort(p50s.begin(), p50s.end());
  std::sort(p99s.begin(), p99s.end());
  std::sort(values_us.begin(), values_us.end());
  std::fputs(fmt::format("{:<44} {:>9.2f} {:>9.2f} {:>9.2f} {:>12.2f} {:>12.2f}\n", what,
                         percentile(values_us, 0.5), percentile(values_us, 0.9),
                         percentile(values_us, 0.99), percentile(p50s, 0), percentile(p99s, 0.5))
                 .c_str(),
             stdout);
}

// Takes every command and forgets it.
class NullClient final : public StageClient {
 public:
  bool try_send(StageCommand& command) override {
    const StageCommand taken = std::move(command);
    return true;
  }
  EngineStats stats() const override { return {}; }
  void stop() override {}
  bool join(Deadline) override { return true; }
};

void bench_handle(int64_t num_requests) {
  const auto graph =
      std::make_shared<const StageGraph>(StageGraph::build(fake::omni_specs()).value());
  StagePools pools;
  for (int32_t s = 0; s < graph->size(); ++s) {
    pools.push_back(std::make_unique<StagePool>(
        [](ReplicaId, uint32_t) { return std::make_unique<NullClient>(); }, 1));
  }
  RequestQueue requests(1024);
  OutputQueue outputs(4096);
  RpcOutputQueue rpc_outputs(1);
  Orchestrator orchestrator(graph, pools, {requests, outputs, rpc_outputs}, Clock::steady(),
                            {.async_chunk = true, .max_live_requests = 1024});
  for (int32_t s = 0; s < graph->size(); ++s) {
    orchestrator.handle(StageEvent{StageId(s), ReplicaId(0), ReadyEvent{}});
  }
  for (int64_t r = 0; r < num_requests; ++r) {
    auto request = std::make_unique<AcceptedRequest>();
    request->key = RequestKey(static_cast<uint64_t>(r));
    request->request_id = fmt::format("request-{}", r);
    request->segment.sampling_params.resize(3);
    request->segment.seeds.resize(3);
    request->final_output_stage_ids = {0, 2};
    if (requests.try_push(std::move(request)) != QueueResult::kOk) std::abort();
  }
  orchestrator.handle(RequestsReadyMessage{});
  std::vector<double> times;
  std::vector<EngineMessage> read;
  for (int32_t i = 0; i < kBatches; ++i) {
    OutputsEvent event;
    for (int64_t r = 0; r < num_requests; ++r) {
      StageOutput output;
      output.key = RequestKey(static_cast<uint64_t>(r));
      output.payload.token_ids = {i};
      output.delta.token_ids = {i};
      output.delta.text = "word";
      event.outputs.push_back(std::move(output));
    }
    StageEvent message{StageId(0), ReplicaId(0), std::move(event)};
    const TimePoint begin = SteadyClock::now();
    orchestrator.handle(std::move(message));
    times.push_back(1e6 * to_seconds(SteadyClock::now() - begin) /
                    static_cast<double>(num_requests));
    outputs.try_pop_all(read);
    read.clear();
  }
  print_row(fmt::format("handle(), {} request(s) a batch [us/chunk]", num_requests), times);
  double total_us = 0;
  for (const double us : times) total_us += us;
  std::fputs(fmt::format("{:<44} {:>9.0f}\n", "  messages/s, one core",
                         1e6 * static_cast<double>(times.size()) / total_us)
                 .c_str(),
             stdout);
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  if (const auto exit_code = tutti::bench::serve_as_worker(argc, argv)) return *exit_code;
  std::fputs(fmt::format("{:<44} {:>9} {:>9} {:>9} {:>12} {:>12}\n", "", "p50", "p90", "p99",
                         "p50 quietest", "p99 typical")
                 .c_str(),
             stdout);
  tutti::bench_handle(1);
  tutti::bench_handle(64);
  tutti::bench::bench_hops(tutti::print_row);
  return 0;
}
