// What a replica's handle and its worker process say to each other, as data: the worker's hello,
// every StageCommand and every StageEvent.
//
// Thread: free functions. encode() fills a writer; decode() turns bytes that are not to be trusted
// into a message or a Status.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "stages/stage_client.h"
#include "stages/wire.h"

namespace tutti {

// First message to a worker: which replica it is, and what to serve (the loader's own encoding).
struct WorkerHello {
  int32_t stage = 0;
  int32_t replica = 0;
  std::string load_spec;
};
// The worker has begun to load.
struct WorkerAccepted {
  int64_t process = 0;
};
struct WorkerProgress {
  double fraction = 0;
  std::string what;
};
// The engine is loaded and takes requests.
struct WorkerLoaded {
  int64_t max_prompt_tokens = 0;  // 0: not limited
  EngineStats stats;
};
using StageEventBody = decltype(StageEvent::body);
// What came of the commands and the step since the last report.
struct WorkerReport {
  EngineStats stats;
  std::vector<StageEventBody> events;
};

using ToWorker = std::variant<WorkerHello, StageCommand>;
using FromWorker = std::variant<WorkerAccepted, WorkerProgress, WorkerLoaded, WorkerReport>;

void encode(WireWriter& writer, const ToWorker& message);
void encode(WireWriter& writer, const StageCommand& command);  // as ToWorker
void encode(WireWriter& writer, const FromWorker& message);
Result<ToWorker> decode_to_worker(std::span<const std::byte> meta, std::shared_ptr<Storage> body);
Result<FromWorker> decode_from_worker(std::span<const std::byte> meta,
                                      std::shared_ptr<Storage> body);

// Bytes of the tensors that the command carries.
size_t tensor_bytes(const StageCommand& command);
// The sequence that the command is about; none for control methods.
std::optional<RequestKey> key_of(const StageCommand& command);

}  // namespace tutti
