// SimWorld: one run of the orchestrator in a world without threads and without time of its own.
// Everything that happens (arrivals, deliveries, steps, aborts, slow readers, deaths, shutdown) is
// chosen by one seed; after every event the guarantees of the engine's contract are checked.
//
// Thread: one. Replaying a seed gives the same run, event by event.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "orchestrator/orchestrator.h"
#include "stages/replica_core.h"
#include "stages/testing/fake_stage_engine.h"

namespace tutti::sim {

// Draws that depend on the seed alone.
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : seed_(seed) {}
  uint64_t next() { return counter_random(seed_, 1, index_++); }
  int64_t below(int64_t bound) { return static_cast<int64_t>(next() % uint64_t(bound)); }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool chance(double p) { return static_cast<double>(next() >> 11) * 0x1.0p-53 < p; }

 private:
  uint64_t seed_;
  uint64_t index_ = 0;
};

struct SimStats {
  int64_t requests = 0;  // accepted
  int64_t finished = 0;
  int64_t aborted = 0;
  int64_t failed = 0;
  int64_t refused = 0;  // queue full
  int64_t events = 0;
};

class SimStageClient;

class SimWorld {
 public:
  SimWorld(uint64_t seed, bool trace);
  ~SimWorld();
  // Runs to the end. Empty, or what was violated.
  std::string run();
  const SimStats& stats() const { return stats_; }

 private:
  // What the caller's side knows of a request.
  struct Client {
    std::string id;
    int64_t tokens = 0;
    std::vector<int32_t> wanted;
    fake::Fault fault = fake::Fault::kNone;
    int32_t fault_stage = -1;
    bool ended = false;                                // terminal message read
    std::map<int32_t, std::vector<int32_t>> received;  // tokens by stage
    std::map<int32_t, std::string> text;
    std::map<int32_t, bool> stage_ended;
  };

  void build_graph();
  void build_pools();
  void one_event();
  void arrive();
  void ask_abort();
  void deliver_one();
  void replica_takes(SimStageClient& client);
  void replica_steps(SimStageClient& client);
  void kill_replica(SimStageClient& client);
  void read(int64_t count);
  void take_message(EngineMessage message);
  void take_output(Client& client, const OutputMessage& message);
  void end(Client& client, const std::string& how);
  void check_content(const Client& client);
  void shut_down();
  void settle();
  void check();
  void check_bindings();
  void check_end();
  SimStageClient& any_replica();

  template <typename... Args>
  void log(const char* format, Args... args);
  void violation(const std::string& what);

  SimRandom random_;
  const bool trace_;
  FakeClock clock_;
  SimStats stats_;
  std::string violation_;

  bool async_chunk_ = true;
  int64_t max_live_ = 0;
  int64_t target_requests_ = 0;
  double death_chance_ = 0, fault_chance_ = 0, abort_chance_ = 0, read_chance_ = 0;
  bool shutting_down_ = false;
  std::shared_ptr<const StageGraph> graph_;
  std::unique_ptr<RequestQueue> requests_;
  std::unique_ptr<OutputQueue> outputs_;
  RpcOutputQueue rpc_outputs_{16};
  std::deque<OrchestratorMessage> mailbox_;
  StagePools pools_;
  std::vector<SimStageClient*> replicas_;
  std::unique_ptr<Orchestrator> orchestrator_;
  std::map<uint64_t, Client> clients_;  // by key, accepted ones
  std::map<std::string, uint64_t> key_of_;
  std::set<uint64_t> aborts_;  // keys that somebody asked to abort
  uint64_t next_key_ = 1;
};

}  // namespace tutti::sim
