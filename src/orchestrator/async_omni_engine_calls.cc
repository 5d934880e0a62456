// AsyncOmniEngine's calls: requests, outputs, control.
#include <fmt/format.h>

#include "orchestrator/abort_group.h"
#include "orchestrator/async_omni_engine_impl.h"
#include "orchestrator/control_methods.h"

namespace tutti {
namespace {

// How much later than the orchestrator, which knows more, this side gives up.
constexpr Duration kAnswerGrace = std::chrono::seconds(1);

TimePoint in_seconds(double timeout_s) { return Deadline::after(timeout_s).time(); }

Status check_timeout(double timeout_s) {
  if (timeout_s > 0) return {};
  return invalid_argument(fmt::format("`timeout` is {}; it must be larger than 0.", timeout_s))
      .with_param("timeout");
}

Result<std::vector<RpcResult>> rpc_results(Result<RpcOutput> answer) {
  if (!answer) return std::move(answer).error();
  auto& rpc = std::get<RpcAnswer>(*answer);
  TUTTI_RETURN_IF_ERROR(rpc.status);
  return std::move(rpc.results);
}

}  // namespace

// --- requests

Status AsyncOmniEngineImpl::add_request(AddRequest request) {
  return intake_->add(std::move(request));
}

void AsyncOmniEngineImpl::add_request_async(AddRequest request, std::function<void(Status)> done) {
  intake_->add_async(std::move(request), std::move(done));
}

Status AsyncOmniEngineImpl::add_streaming_update(StreamingUpdate update) {
  return intake_->update(std::move(update));
}

void AsyncOmniEngineImpl::add_streaming_update_async(StreamingUpdate update,
                                                     std::function<void(Status)> done) {
  intake_->update_async(std::move(update), std::move(done));
}

Status AsyncOmniEngineImpl::abort(const std::vector<std::string>& request_ids) {
  std::vector<RequestKey> keys = live_.to_abort(request_ids);
  if (!keys.empty()) post(AbortMessage{std::move(keys)});
  return {};
}

void AsyncOmniEngineImpl::abort_async(std::vector<std::string> request_ids,
                                      std::function<void(Result<std::vector<AbortResult>>)> done) {
  const auto group = std::make_shared<AbortGroup>(std::move(done));
  const size_t known = group->begin();
  // Requests that are still being prepared, or wait for room in the queue.
  const auto later = [this, group](RequestKey key) {
    return [this, group, key, part = group->begin()](bool enqueued) {
      if (!enqueued) return group->end(part, std::vector<AbortResult>());
      abort_part({key}, [group, part](auto results) { group->end(part, std::move(results)); });
    };
  };
  abort_part(live_.to_abort(request_ids, later),
             [group, known](auto results) { group->end(known, std::move(results)); });
}

void AsyncOmniEngineImpl::abort_part(std::vector<RequestKey> keys,
                                     std::function<void(Result<std::vector<AbortResult>>)> done) {
  // The orchestrator answers in any case, after its own bound at the latest.
  calls_.call_async(
      TimePoint::max(),
      [this, keys = std::move(keys)](uint64_t ticket) { return post(AbortMessage{keys, ticket}); },
      [done = std::move(done)](Result<RpcOutput> answer) {
        if (!answer) return done(std::move(answer).error());
        done(std::move(std::get<AbortAnswer>(*answer).results));
      });
}

Result<std::optional<EngineMessage>> AsyncOmniEngineImpl::try_get_output(double timeout_s) {
  std::optional<EngineMessage> message = outputs_.pop(Deadline::after(timeout_s));
  if (message) {
    live_.seen(*message);
  } else if (outputs_.drained()) {
    return unavailable("The engine has stopped; there are no further outputs.");
  }
  return message;
}

void AsyncOmniEngineImpl::try_get_output_async(std::function<void(Result<EngineMessage>)> done) {
  waiters_.wait(std::move(done));
}

// --- control

Result<RpcMessage> AsyncOmniEngineImpl::rpc_message(const std::string& method, double timeout_s,
                                                    const std::string& args_json,
                                                    const std::string& kwargs_json,
                                                    const std::vector<int32_t>& stage_ids) const {
  RpcMessage message;
  TUTTI_RETURN_IF_ERROR(check_timeout(timeout_s));
  for (const int32_t stage : stage_ids) TUTTI_RETURN_IF_ERROR(check_stage("stage_ids", stage));
  TUTTI_ASSIGN_OR_RETURN(message.args_json, control_arguments(method, args_json, kwargs_json));
  message.method = method;
  message.stage_ids = stage_ids;
  message.deadline = in_seconds(timeout_s);
  return message;
}

Result<std::vector<RpcResult>> AsyncOmniEngineImpl::call_rpc(RpcMessage message) {
  return rpc_results(calls_.call(message.deadline + kAnswerGrace, [&](uint64_t ticket) {
    message.ticket = ticket;
    return post(std::move(message));
  }));
}

Result<std::vector<RpcResult>> AsyncOmniEngineImpl::collective_rpc(
    const std::string& method, double timeout_s, const std::string& args_json,
    const std::string& kwargs_json, const std::vector<int32_t>& stage_ids) {
  TUTTI_ASSIGN_OR_RETURN(RpcMessage message,
                         rpc_message(method, timeout_s, args_json, kwargs_json, stage_ids));
  const std::string arguments = message.args_json;
  auto results = call_rpc(std::move(message));
  if (results) loras_.called(method, arguments, *results);
  return results;
}

void AsyncOmniEngineImpl::collective_rpc_async(
    std::string method, double timeout_s, std::string args_json, std::string kwargs_json,
    std::vector<int32_t> stage_ids, std::function<void(Result<std::vector<RpcResult>>)> done) {
  Result<RpcMessage> message = rpc_message(method, timeout_s, args_json, kwargs_json, stage_ids);
  if (!message) return done(std::move(message).error());
  const TimePoint deadline = message->deadline + kAnswerGrace;
  const std::string arguments = message->args_json;
  calls_.call_async(
      deadline,
      [this, &message](uint64_t ticket) {
        message->ticket = ticket;
        return post(std::move(*message));
      },
      [this, method, arguments, done = std::move(done)](Result<RpcOutput> answer) {
        auto results = rpc_results(std::move(answer));
        if (results) loras_.called(method, arguments, *results);
        done(std::move(results));
      });
}

Result<int32_t> AsyncOmniEngineImpl::change_replicas(ReplicaMessage message, double timeout_s) {
  TUTTI_RETURN_IF_ERROR(check_timeout(timeout_s));
  TUTTI_RETURN_IF_ERROR(check_stage("stage_id", message.stage_id));
  if (!message.remove && parts_.check_added_replica) {
    const auto now = static_cast<int32_t>(stage_pools()[message.stage_id].replicas.size());
    TUTTI_RETURN_IF_ERROR(parts_.check_added_replica(message.stage_id, now));
  }
  TUTTI_ASSIGN_OR_RETURN(RpcOutput answer, calls_.call(in_seconds(timeout_s), [&](uint64_t ticket) {
    message.ticket = ticket;
    return post(message);
  }));
  return std::move(std::get<ReplicaAnswer>(answer).replica_id);
}

Result<int32_t> AsyncOmniEngineImpl::add_replica(int32_t stage_id, double timeout_s) {
  return change_replicas({.stage_id = stage_id, .remove = std::nullopt}, timeout_s);
}

Status AsyncOmniEngineImpl::remove_replica(int32_t stage_id, int32_t replica_id, double timeout_s) {
  Status status = change_replicas({.stage_id = stage_id, .remove = replica_id}, timeout_s).status();
  if (status.code() != StatusCode::kDeadlineExceeded) return status;
  const StagePool& pool = *pools_[stage_id];
  if (replica_id < 0 || replica_id >= pool.size()) return status;
  const StageReplica& replica = pool.replica(ReplicaId(replica_id));
  if (replica.state() != ReplicaState::kDraining) return status;
  const int64_t left = replica.outstanding();
  return deadline_exceeded(fmt::format(
      "Replica {} of {} takes no new requests and goes when those that it has have ended; {} {} "
      "left after {} s.",
      replica_id, graph_->describe(stage_id), left, left == 1 ? "is" : "are", timeout_s));
}

}  // namespace tutti
