// StageClient: the handle on one replica, wherever it runs, and the messages both ways. Commands go
// in and are never waited for; what comes of them arrives as StageEvents at the sink.
//
// Thread: commands from the orchestrator's thread; events are posted from the replica's.
// Invariants: commands take effect in order; after DiedEvent or stop() nothing more is posted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "engine/stage_engine.h"
#include "models/stage_io.h"
#include "stages/edge.h"

namespace tutti {

// --- commands
// Begins a sequence. `chunks` are what its sources have put out so far (a stage without sources
// has its input in the request); `complete`: no further chunk will follow.
struct SubmitCommand {
  std::unique_ptr<StageRequest> request;
  std::vector<UpstreamChunk> chunks;
  bool complete = true;
};
struct ChunkCommand {
  RequestKey key;
  UpstreamChunk chunk;
  bool complete = false;
};
// A further segment of a sequence whose request was resumable.
struct SegmentCommand {
  StageSegment segment;
};
// Lets go of the sequence; answered by an AbortedEvent, also when the key is unknown.
struct AbortCommand {
  RequestKey key;
};
// Runs a control method on the replica; answered by an RpcEvent with the same ticket.
struct RpcCommand {
  uint64_t ticket = 0;
  std::string method;
  std::string args_json;
};
using StageCommand =
    std::variant<SubmitCommand, ChunkCommand, SegmentCommand, AbortCommand, RpcCommand>;

// --- events
// The engine is loaded and takes requests.
struct ReadyEvent {};
// The replica ended by itself; everything bound to it is lost.
struct DiedEvent {
  Status cause;
};
// There is room again after a refused command.
struct RoomEvent {};
struct OutputsEvent {
  std::vector<StageOutput> outputs;
};
// The sequence's memory is free; nothing more of it follows.
struct AbortedEvent {
  RequestKey key;
  StageOutput held;  // what it had produced and not handed out
};
struct RpcEvent {
  uint64_t ticket = 0;
  Result<std::string> result_json;
};
struct StageEvent {
  StageId stage;
  ReplicaId replica;
  std::variant<ReadyEvent, DiedEvent, RoomEvent, OutputsEvent, AbortedEvent, RpcEvent> body;
  // Counts the restarts of the replica; events of an earlier life are ignored.
  uint32_t incarnation = 0;
};
using StageEventSink = std::function<void(StageEvent)>;

class StageClient {
 public:
  virtual ~StageClient() = default;
  // Takes the command over, or leaves it alone and returns false while the replica's mailbox is
  // full; a RoomEvent follows then. Never blocks. A dead replica swallows commands.
  virtual bool try_send(StageCommand& command) = 0;
  // The engine's figures as of its last step. Any thread.
  virtual EngineStats stats() const = 0;
  // Begins to end the replica: queued commands are dropped, a running step finishes.
  virtual void stop() = 0;
  // Waits for its end; false when the deadline came first. After stop() only.
  virtual bool join(Deadline deadline) = 0;
};

}  // namespace tutti
