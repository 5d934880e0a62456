#include "stages/replica_core.h"

#include <fmt/format.h>

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

ReplicaCore::ReplicaCore(StageId stage, std::shared_ptr<const StageGraph> graph,
                         std::unique_ptr<StageEngine> engine)
    : stage_(stage.value), graph_(std::move(graph)), engine_(std::move(engine)) {}

Status ReplicaCore::submit(SubmitCommand& command) {
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
  StageChunk chunk{.key = command.key, .payload = {}, .last = command.complete};
  TUTTI_ASSIGN_OR_RETURN(chunk.payload, process_edge(*graph_, stage_, std::move(chunks)));
  if (chunk.payload.empty() && !chunk.last) return {};
  engine_->append(std::move(chunk));
  return {};
}

Result<std::string> ReplicaCore::call(const RpcCommand& command) {
  if (command.method == "ping") return std::string("\"pong\"");
  if (command.method == "reset_mm_cache") {
    engine_->reset_mm_cache();
    return std::string("null");
  }
  return not_found(fmt::format(
      "The control method '{}' is unknown; this stage has: ping, reset_mm_cache.", command.method));
}

void ReplicaCore::apply(StageCommand command, std::vector<StageOutput>& outputs) {
  if (const auto* abort = std::get_if<AbortCommand>(&command)) {
    std::optional<StageOutput> held = engine_->abort(abort->key);
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
      status = engine_->extend(std::move(segment->segment));
    } else {
      key = std::get<ChunkCommand>(command).key;
      status = append(std::get<ChunkCommand>(command));
    }
  } catch (...) {
    status = status_of_current_exception("Taking input");
  }
  if (status.ok()) return;
  // The engine may or may not have kept it; unknown keys are ignored.
  engine_->abort(key);
  outputs.push_back(failed_output(key, std::move(status)));
}

Status ReplicaCore::step(std::vector<StageOutput>& outputs) {
  try {
    engine_->step(outputs);
    return {};
  } catch (...) {
    return status_of_current_exception("A step of " + graph_->describe(stage_));
  }
}

}  // namespace tutti
