// InitMonitor: what every stage is doing while it loads, and how long that may take.
//
// Thread: progress() from loading threads, on_replica_state() from the orchestrator, wait() from
// the creator. After wait() has returned the caller's callback is not called any more.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tutti/options.h"

#include "base/ids.h"
#include "stages/stage_graph.h"
#include "stages/stage_pool.h"

namespace tutti {

class InitMonitor {
 public:
  InitMonitor(std::shared_ptr<const StageGraph> graph, std::vector<int32_t> replicas,
              LoadProgress on_progress);

  // False: nobody waits any more, loading should be given up.
  bool progress(int32_t stage, double fraction, const std::string& what);
  void on_replica_state(StageId stage, ReplicaState state, const Status& cause);
  // Until every replica is ready, one has failed, or time is up.
  Status wait(double stage_init_timeout_s, double init_timeout_s);

 private:
  struct Stage {
    int32_t replicas_to_come = 0;
    double fraction = 0;
    std::string doing = "starting";
  };
  Status timeout_error(int32_t stage, double limit_s, const char* limit_name) const;

  const std::shared_ptr<const StageGraph> graph_;
  const LoadProgress on_progress_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Stage> stages_;
  Status failure_;
  bool given_up_ = false;
  bool over_ = false;
};

}  // namespace tutti
