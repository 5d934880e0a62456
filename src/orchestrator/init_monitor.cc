#include "orchestrator/init_monitor.h"

#include <fmt/format.h>

#include "base/clock.h"

namespace tutti {

InitMonitor::InitMonitor(std::shared_ptr<const StageGraph> graph, std::vector<int32_t> replicas,
                         LoadProgress on_progress)
    : graph_(std::move(graph)), on_progress_(std::move(on_progress)) {
  for (int32_t count : replicas) stages_.push_back({.replicas_to_come = count});
}

bool InitMonitor::progress(int32_t stage, double fraction, const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (over_) return !given_up_;
  stages_[stage].fraction = fraction;
  stages_[stage].doing = what;
  // Under the lock: the callback sees one stage at a time.
  if (on_progress_) on_progress_(graph_->spec(stage).model_stage, fraction, what);
  return true;
}

void InitMonitor::on_replica_state(StageId stage, ReplicaState state, const Status& cause) {
  const std::lock_guard lock(mutex_);
  if (over_) return;
  if (state == ReplicaState::kReady) --stages_[stage.value].replicas_to_come;
  if (state == ReplicaState::kDead && failure_.ok()) {
    failure_ = Status(cause).with_context("Loading " + graph_->describe(stage.value));
  }
  changed_.notify_all();
}

Status InitMonitor::timeout_error(int32_t stage, double limit_s, const char* limit_name) const {
  return deadline_exceeded(fmt::format("{} was not ready within {} ({} s); it was {} ({:.0f} %).",
                                       graph_->describe(stage), limit_name, limit_s,
                                       stages_[stage].doing, 100 * stages_[stage].fraction));
}

Status InitMonitor::wait(double stage_init_timeout_s, double init_timeout_s) {
  const bool stage_limit = stage_init_timeout_s <= init_timeout_s;
  const double limit_s = stage_limit ? stage_init_timeout_s : init_timeout_s;
  const Deadline deadline = Deadline::after(limit_s);
  std::unique_lock lock(mutex_);
  const auto first_open = [&] {
    for (size_t s = 0; s < stages_.size(); ++s) {
      if (stages_[s].replicas_to_come > 0) return static_cast<int32_t>(s);
    }
    return -1;
  };
  changed_.wait_until(lock, deadline.time(), [&] { return !failure_.ok() || first_open() < 0; });
  over_ = true;
  Status result = failure_;
  if (result.ok() && first_open() >= 0) {
    result =
        timeout_error(first_open(), limit_s, stage_limit ? "stage_init_timeout" : "init_timeout");
  }
  given_up_ = !result.ok();
  return result;
}

}  // namespace tutti
