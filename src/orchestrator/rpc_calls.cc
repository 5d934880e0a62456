#include "orchestrator/rpc_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/strings.h"

namespace tutti {

Status RpcCalls::check_stages(RpcMessage& message) const {
  std::vector<int32_t>& ids = message.stage_ids;
  if (ids.empty()) {
    ids.resize(static_cast<size_t>(graph_.size()));
    std::iota(ids.begin(), ids.end(), 0);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const int32_t id : ids) {
    if (id >= 0 && id < graph_.size()) continue;
    std::vector<std::string> known;
    for (int32_t s = 0; s < graph_.size(); ++s) {
      known.push_back(fmt::format("{} ({})", s, graph_.spec(s).model_stage));
    }
    return invalid_argument(
               fmt::format("`stage_ids` has {}; this model has the stages {}.", id, join(known)))
        .with_param("stage_ids");
  }
  return {};
}

void RpcCalls::call(RpcMessage message) {
  Status status = check_stages(message);
  if (!status.ok()) {
    answers_.emit(RpcAnswer{message.ticket, std::move(status), {}});
    return;
  }
  const uint64_t id = next_++;
  const Position call = calls_.emplace(id, Call{}).first;
  call->second.ticket = message.ticket;
  call->second.deadline = message.deadline;
  for (const int32_t stage : message.stage_ids) ask_stage(message, stage, id, call->second);
  if (message.deadline != TimePoint::max()) timers_.set({message.deadline, TimerKind::kRpc, id});
  if (call->second.left == 0) finish(call, {});
}

void RpcCalls::ask_stage(const RpcMessage& message, int32_t stage, uint64_t id, Call& call) {
  StagePool& pool = *pools_[stage];
  bool any = false;
  for (int32_t r = 0; r < pool.size(); ++r) {
    StageReplica& replica = pool.replica(ReplicaId(r));
    if (!replica.answers()) continue;
    any = true;
    const uint64_t ticket = next_++;
    call_of_.emplace(ticket, id);
    call.entries.push_back({.result = {stage, r, {}, {}}, .ticket = ticket, .open = true});
    ++call.left;
    replica.send(RpcCommand{ticket, message.method, message.args_json});
  }
  if (any) return;
  const Status none =
      unavailable(fmt::format("There is no live replica of {}.", graph_.describe(stage)));
  call.entries.push_back({.result = {stage, -1, none, {}}, .ticket = 0, .open = false});
}

void RpcCalls::answer(uint64_t ticket, Result<std::string> result) {
  const auto found = call_of_.find(ticket);
  if (found == call_of_.end()) return;  // its deadline has passed
  const Position call = calls_.find(found->second);
  for (Entry& entry : call->second.entries) {
    if (entry.ticket != ticket) continue;
    entry.result.status = result.status();
    if (result) entry.result.result_json = std::move(result).value();
    return close_entry(call, entry);
  }
}

void RpcCalls::close_entry(Position call, Entry& entry) {
  entry.open = false;
  call_of_.erase(entry.ticket);
  if (--call->second.left == 0) finish(call, {});
}

void RpcCalls::replica_gone(int32_t stage, ReplicaId replica, const Status& cause) {
  for (Position call = calls_.begin(); call != calls_.end();) {
    const Position current = call++;
    for (Entry& entry : current->second.entries) {
      RpcResult& result = entry.result;
      if (!entry.open || result.stage_id != stage || result.replica_id != replica.value) continue;
      result.status = unavailable(fmt::format("Replica {} of {} has ended: {}", replica.value,
                                              graph_.describe(stage), cause.message()));
      close_entry(current, entry);
      break;  // one entry per replica, and the call may be gone
    }
  }
}

void RpcCalls::deadline_passed(uint64_t call) {
  const Position found = calls_.find(call);
  if (found == calls_.end()) return;
  finish(found, deadline_exceeded(fmt::format("{} of {} replicas did not answer in time.",
                                              found->second.left, found->second.entries.size())));
}

void RpcCalls::finish(Position call, Status status) {
  Call& done = call->second;
  RpcAnswer answer{.ticket = done.ticket, .status = std::move(status), .results = {}};
  for (Entry& entry : done.entries) {
    if (entry.open) {
      call_of_.erase(entry.ticket);
    } else {
      answer.results.push_back(std::move(entry.result));
    }
  }
  if (done.deadline != TimePoint::max()) {
    timers_.clear({done.deadline, TimerKind::kRpc, call->first});
  }
  calls_.erase(call);
  answers_.emit(std::move(answer));
}

void RpcCalls::end_all(const Status& cause) {
  while (!calls_.empty()) finish(calls_.begin(), cause);
}

}  // namespace tutti
