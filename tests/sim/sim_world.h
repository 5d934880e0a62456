// SimWorld: one run of the orchestrator in a world without threads and without time of its own.
// Everything that happens (arrivals, updates, aborts, control calls, deliveries, steps, slow
// readers, full queues, deaths, restarts, additions, removals, timeouts, shutdown) is chosen by one
// seed; the guarantees of the engine's contract are checked after every event.
//
// Thread: one. Replaying a seed gives the same run, event by event.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "orchestrator/orchestrator.h"
#include "sim/sim_client.h"

namespace tutti::sim {

// Draws that depend on the seed alone.
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : seed_(seed) {}
  uint64_t next() { return counter_random(seed_, 1, index_++); }
  int64_t below(int64_t bound) { return static_cast<int64_t>(next() % uint64_t(bound)); }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool chance(double p) { return p > 0 && static_cast<double>(next() >> 11) * 0x1.0p-53 < p; }

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
  int64_t retries = 0;
  int64_t deaths = 0;
  int64_t updates = 0;
  int64_t overdue = 0;  // failed at their deadline
  int64_t early = 0;    // sessions that finished before their last segment
  int64_t calls = 0;    // control calls answered
  void add(const SimStats& other);
};

class SimWorld {
 public:
  SimWorld(uint64_t seed, bool trace, Bug bug = Bug::kNone);
  ~SimWorld();
  // Runs to the end. Empty, or what was violated.
  std::string run();
  const SimStats& stats() const { return stats_; }

 private:
  // How often each kind of trouble comes. Most worlds are calm in most respects, so that every mix
  // occurs.
  struct Chances {
    double death = 0, fault = 0, abort = 0, read = 0, update = 0, resumable = 0, deadline = 0;
    double companion = 0, rank = 0, call = 0, replica = 0, shutdown = 0, pause = 0;
    double early_end = 0;
  };
  // What a stage said in answer to a segment.
  struct Answer {
    int32_t stage = 0;
    int32_t segment = 0;
    std::vector<int32_t> tokens;
    std::string text;
    int64_t samples = 0;
    bool ended = false;
  };
  // What the caller's side knows of a request.
  struct Client {
    RequestKey key;
    std::string id;
    std::vector<int64_t> tokens;  // asked for, by segment
    bool input_complete = true;
    bool resumable = false;
    std::vector<int32_t> wanted;
    std::vector<RequestKey> companions;
    std::optional<int32_t> rank;
    TimePoint deadline = TimePoint::max();
    fake::Fault fault = fake::Fault::kNone;
    int32_t fault_stage = -1;
    int32_t early_stage = -1;  // which ends with its answer to `early_segment`, if it is an entry
    int32_t early_segment = 0;
    bool ended = false;    // terminal message read
    bool emitted = false;  // the orchestrator has put out something of it
    int32_t retries = 0;
    std::vector<Answer> answers;
    std::vector<int32_t> metrics_of;
    std::vector<int32_t> companions_in;  // stages that got everything of its companions
  };
  struct Call {
    std::vector<RequestKey> keys;  // of an abort
    TimePoint deadline = TimePoint::max();
  };

  // --- building (sim_world.cc)
  void build_graph();
  void build_queues();
  void build_pools();
  fake::FakeOptions engine_options();
  std::unique_ptr<StageClient> make_replica(int32_t stage, ReplicaId replica, uint32_t incarnation);

  // --- what happens (sim_events.cc)
  void one_event();
  void rare_event();
  void arrive();
  RequestSegment segment_of(const Client& client, int32_t index);
  void update(Client& client, bool last);
  void ask_update();
  void ask_abort();
  void ask_rpc();
  void ask_replica();
  void deliver_one();
  void tick();
  void kill_replica(SimStageClient& client);
  void replica_loads(SimStageClient& client);
  void forget_ended_replicas();
  void shut_down();
  void settle();
  bool settle_round();
  bool pass_time();
  SimStageClient& any_replica();
  Client* any_open_client();

  // --- what is read and checked (sim_check.cc)
  void read(int64_t count);
  void read_answers(int64_t count);
  void take_message(EngineMessage message);
  void take_error(Client& client, const ErrorMessage& message);
  void take_output(Client& client, const OutputMessage& message);
  void take_answer(const RpcOutput& answer);
  void check_rpc(const RpcAnswer& answer);
  void end(Client& client, const char* how);
  void check_content(const Client& client);
  void check_answer(const Client& client, int32_t stage, int32_t segment);
  void check_admission(const StageRequest& request, int32_t stage);
  void check_companions(RequestKey key, int32_t stage, const std::vector<int32_t>& got);
  void check();
  void check_bindings();
  void check_end();
  bool has_fault(const Client& client) const;
  // A session of which an entry stage ends with a full context, if it comes to that.
  bool may_end_early(const Client& client) const;
  Answer& answer_of(Client& client, int32_t stage, int32_t segment);
  Client* find_client(RequestKey key);

  bool strikes(Bug bug);
  template <typename... Args>
  void log(const char* format, Args... args);
  void violation(const std::string& what);

  SimRandom random_;
  const bool trace_;
  const Bug bug_;
  int64_t bug_left_ = 0;  // occasions until the bug strikes; negative: it has
  FakeClock clock_;
  SimStats stats_;
  std::string violation_;

  Chances chances_;
  OrchestratorOptions options_;
  int64_t target_requests_ = 0;
  int64_t max_tokens_ = 0;
  int32_t sample_rate_ = 0;
  bool removals_ = false;  // replicas have been removed
  bool shutting_down_ = false;
  std::shared_ptr<const StageGraph> graph_;
  std::unique_ptr<RequestQueue> requests_;
  std::unique_ptr<OutputQueue> outputs_;
  std::unique_ptr<RpcOutputQueue> answers_;
  std::deque<OrchestratorMessage> mailbox_;
  StagePools pools_;
  std::vector<SimStageClient*> replicas_;
  std::vector<std::shared_ptr<StageClient>> ended_replicas_;
  std::unique_ptr<Orchestrator> orchestrator_;
  std::deque<Client> clients_;          // in the order of their keys
  std::vector<int64_t> client_of_{-1};  // key -> index; of companions: their parent's; -1: none
  std::unordered_map<std::string, int64_t> client_named_;
  std::vector<RequestKey> open_;    // not ended, or not let go
  std::map<uint64_t, Call> calls_;  // by ticket
  std::set<RequestKey> aborted_;    // somebody asked for it
  uint64_t next_ticket_ = 1;
};

}  // namespace tutti::sim
