#include "stages/replica_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

namespace tutti {
namespace {

StageOutput failed_output(RequestKey key, Status error) {
  StageOutput output;
  output.key = key;
  output.finished = true;
  output.delta.finish_reason = FinishReason::kError;
  output.error = std::move(error);
  return output;
}

// Since the chunk left its stage; 0 when that was not noted.
double seconds_under_way(const UpstreamChunk& chunk) {
  if (chunk.sent == TimePoint()) return 0;
  return std::max(0.0, to_seconds(Clock::steady().now() - chunk.sent));
}

}  // namespace

Status status_of_current_exception(const std::string& what_failed) {
  try {
    throw;
  } catch (const std::exception& e) {
    return internal_error(fmt::format("{} failed: {}.", what_failed, e.what()));
  } catch (...) {
    return internal_error(fmt::format("{} failed with an unknown exception.", what_failed));
  }
}

ReplicaCore::ReplicaCore(StageId stage, ReplicaId replica, std::shared_ptr<const StageGraph> graph,
                         std::unique_ptr<StageEngine> engine, StageEngineFactory factory)
    : stage_(stage.value),
      replica_(replica.value),
      graph_(std::move(graph)),
      engine_(std::move(engine)),
      factory_(std::move(factory)) {}

Status ReplicaCore::check_awake() const {
  if (sleep_level_ == 0) return {};
  return unavailable(
      fmt::format("The replica of {} sleeps (level {}); wake_up lets it take requests again.",
                  graph_->describe(stage_), sleep_level_));
}

Status ReplicaCore::submit(SubmitCommand& command) {
  TUTTI_RETURN_IF_ERROR(check_awake());
  for (const UpstreamChunk& chunk : command.chunks)
    command.request->transfer_s += seconds_under_way(chunk);
  if (!command.chunks.empty()) {
    TUTTI_ASSIGN_OR_RETURN(command.request->input.payload,
                           process_edge(*graph_, stage_, std::move(command.chunks)));
  }
  command.request->input.last = command.complete;
  return engine_->admit(std::move(*command.request));
}

Status ReplicaCore::append(ChunkCommand& command) {
  std::vector<UpstreamChunk> chunks;
  chunks.push_back(std::move(command.chunk));
  StageChunk chunk{.key = command.key,
                   .payload = {},
                   .last = command.complete,
                   .transfer_s = seconds_under_way(chunks.front())};
  TUTTI_ASSIGN_OR_RETURN(chunk.payload, process_edge(*graph_, stage_, std::move(chunks)));
  if (chunk.payload.empty() && !chunk.last) return {};
  engine_->append(std::move(chunk));
  return {};
}

void ReplicaCore::apply(StageCommand command, std::vector<StageOutput>& outputs) {
  if (const auto* abort = std::get_if<AbortCommand>(&command)) {
    std::optional<StageOutput> held = engine_ ? engine_->abort(abort->key) : std::nullopt;
    answers_.push_back(AbortedEvent{abort->key, held ? std::move(*held) : StageOutput{}});
    return;
  }
  if (const auto* rpc = std::get_if<RpcCommand>(&command)) {
    answers_.push_back(RpcEvent{rpc->ticket, call(*rpc)});
    return;
  }
  RequestKey key;
  Status status;
  try {
    if (auto* submitted = std::get_if<SubmitCommand>(&command)) {
      key = submitted->request->key;
      status = submit(*submitted);
    } else if (auto* segment = std::get_if<SegmentCommand>(&command)) {
      key = segment->segment.key;
      if (engine_) status = engine_->extend(std::move(segment->segment));
    } else {
      key = std::get<ChunkCommand>(command).key;
      if (engine_) status = append(std::get<ChunkCommand>(command));
    }
  } catch (...) {
    status = status_of_current_exception("Taking input");
  }
  if (status.ok()) return;
  // Callers know their prompt, and no inner stage's: its name has to be there.
  if (!graph_->spec(stage_).sources.empty()) {
    status = Status(status).with_context(graph_->describe(stage_));
  }
  // The engine may or may not have kept it; unknown keys are ignored.
  if (engine_) engine_->abort(key);
  outputs.push_back(failed_output(key, std::move(status)));
}

Status ReplicaCore::step(std::vector<StageOutput>& outputs) {
  try {
    engine_->step(outputs);
    if (profile_) record_step(engine_->last_step());
    return {};
  } catch (...) {
    return status_of_current_exception("A step of " + graph_->describe(stage_));
  }
}

}  // namespace tutti
