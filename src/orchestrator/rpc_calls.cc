#include "orchestrator/rpc_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/log.h"
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
  const TimePoint deadline = message.deadline;
  call->second.message = std::move(message);
  for (const int32_t stage : call->second.message.stage_ids) ask_stage(stage, id, call->second);
  if (deadline != TimePoint::max()) timers_.set({deadline, TimerKind::kRpc, id});
  if (call->second.left == 0) finish(call, {});
}

void RpcCalls::ask_stage(int32_t stage, uint64_t id, Call& call) {
  const RpcMessage& message = call.message;
  StagePool& pool = *pools_[stage];
  StageState& state = states_[static_cast<size_t>(stage)];
  call.sleep_levels.push_back(state.sleep_level());
  const bool wakes = message.method == "wake_up" && state.sleep_level() > 0;
  state.asked(message.method, message.args_json);
  show(stage);
  bool any = false;
  for (int32_t r = 0; r < pool.size(); ++r) {
    StageReplica& replica = pool.replica(ReplicaId(r));
    if (!replica.answers()) continue;
    any = true;
    const uint64_t ticket = next_++;
    call_of_.emplace(ticket, id);
    call.entries.push_back({.result = {stage, r, {}, {}}, .ticket = ticket});
    ++call.left;
    replica.send(RpcCommand{ticket, message.method, message.args_json});
    if (wakes) send(replica, state.adapters());
  }
  if (any) return;
  const Status none =
      unavailable(fmt::format("There is no live replica of {}.", graph_.describe(stage)));
  call.entries.push_back(
      {.result = {stage, -1, none, {}}, .ticket = 0, .open = false, .gone = true});
}

void RpcCalls::send(StageReplica& replica, std::vector<RpcCommand> commands) const {
  for (RpcCommand& command : commands) replica.send(std::move(command));
}

void RpcCalls::send_others(int32_t stage, const Call* call,
                           const std::vector<RpcCommand>& commands) const {
  StagePool& pool = *pools_[stage];
  for (int32_t r = 0; r < pool.size(); ++r) {
    StageReplica& replica = pool.replica(ReplicaId(r));
    if (!replica.answers() || (call != nullptr && asked(*call, stage, r))) continue;
    send(replica, commands);
  }
}

bool RpcCalls::asked(const Call& call, int32_t stage, int32_t replica) const {
  return std::ranges::any_of(call.entries, [&](const Entry& entry) {
    return entry.result.stage_id == stage && entry.result.replica_id == replica && !entry.gone;
  });
}

void RpcCalls::show(int32_t stage) const {
  const StageState& state = states_[static_cast<size_t>(stage)];
  pools_[stage]->show_state(state.paused(), state.sleep_level());
}

void RpcCalls::replica_ready(int32_t stage, ReplicaId replica) {
  send(pools_[stage]->replica(replica), states_[static_cast<size_t>(stage)].for_new_replica());
}

void RpcCalls::answer(uint64_t ticket, Result<std::string> result) {
  const auto found = call_of_.find(ticket);
  if (found == call_of_.end()) {  // its deadline has passed, or nobody waits
    if (ticket == 0 && !result) {
      spdlog::warn("Bringing a replica to its stage's state: {}", result.error().message());
    }
    return;
  }
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
      entry.gone = true;
      close_entry(current, entry);
      break;  // one entry per replica, and the call may be gone
    }
  }
}

void RpcCalls::deadline_passed(uint64_t call) {
  const Position found = calls_.find(call);
  if (found == calls_.end()) return;
  drop_commands(found->second);
  finish(found, deadline_exceeded(fmt::format("{} of {} replicas did not answer in time.",
                                              found->second.left, found->second.entries.size())));
}

// Commands that a replica has not taken would pile up in front of it. One that would have changed
// its state is made up for, once, however many there were.
void RpcCalls::drop_commands(const Call& call) {
  for (const Entry& entry : call.entries) {
    if (!entry.open) continue;
    const int32_t stage = entry.result.stage_id;
    StageReplica& replica = pools_[stage]->replica(ReplicaId(entry.result.replica_id));
    if (!replica.drop_rpcs(entry.ticket) || !StageState::changes(call.message.method)) continue;
    replica.drop_rpcs(0);
    send(replica, states_[static_cast<size_t>(stage)].for_any_replica());
  }
}

Status RpcCalls::settle(const Call& call, bool in_time) {
  const RpcMessage& message = call.message;
  if (!StageState::changes(message.method)) return {};
  const Entry* refused = nullptr;
  for (const Entry& entry : call.entries) {
    if (!entry.open && !entry.gone && !entry.result.status.ok() && refused == nullptr) {
      refused = &entry;
    }
  }
  const bool stays_awake = message.method == "sleep" && (refused != nullptr || !in_time);
  for (size_t i = 0; i < message.stage_ids.size(); ++i) {
    const int32_t stage = message.stage_ids[i];
    StageState& state = states_[static_cast<size_t>(stage)];
    const bool any = std::ranges::any_of(call.entries, [&](const Entry& entry) {
      return entry.result.stage_id == stage && !entry.open && entry.result.status.ok();
    });
    if (stays_awake) {
      state.set_sleep_level(call.sleep_levels[i]);
      if (call.sleep_levels[i] > 0) continue;
      std::vector<RpcCommand> commands = state.adapters();
      commands.insert(commands.begin(), {.ticket = 0, .method = "wake_up", .args_json = "{}"});
      send_others(stage, nullptr, commands);
    } else if (message.method == "wake_up" && !any && refused != nullptr) {
      state.set_sleep_level(call.sleep_levels[i]);
    } else if (any && state.done(message.method, message.args_json)) {
      // Some may have become ready in the meantime.
      send_others(stage, &call,
                  {{.ticket = 0, .method = message.method, .args_json = message.args_json}});
    }
    show(stage);
  }
  if (!stays_awake || refused == nullptr) return {};
  return Status(refused->result.status)
      .with_context(fmt::format("No stage sleeps, since replica {} of {} does not",
                                refused->result.replica_id,
                                graph_.describe(refused->result.stage_id)));
}

void RpcCalls::finish(Position call, Status status) {
  Call& done = call->second;
  const TimePoint deadline = done.message.deadline;
  Status settled = settle(done, status.ok());
  if (status.ok()) status = std::move(settled);
  RpcAnswer answer{.ticket = done.message.ticket, .status = std::move(status), .results = {}};
  for (Entry& entry : done.entries) {
    if (entry.open) {
      call_of_.erase(entry.ticket);
    } else {
      answer.results.push_back(std::move(entry.result));
    }
  }
  if (deadline != TimePoint::max()) {
    timers_.clear({deadline, TimerKind::kRpc, call->first});
  }
  calls_.erase(call);
  answers_.emit(std::move(answer));
}

void RpcCalls::end_all(const Status& cause) {
  while (!calls_.empty()) finish(calls_.begin(), cause);
}

}  // namespace tutti
