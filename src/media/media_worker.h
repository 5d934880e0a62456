// MediaWorker: one run of the program `tutti-media` (apps/media_worker), which decodes one
// container apart from the engine. Started per item, killed and reaped by the destructor whatever
// happened.
//
// Thread: one at a time; any number of workers may run beside each other. Ownership: two
// descriptors and the process. Errors are sentences without the item's name.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "tutti/status.h"

#include "base/child_process.h"
#include "media/worker_protocol.h"

namespace tutti {

class MediaWorker {
 public:
  // `program` empty: TUTTI_MEDIA_WORKER of the environment, or `tutti-media` beside the running
  // program. The worker has `deadline_s` seconds for all it does.
  static Result<MediaWorker> start(std::span<const std::byte> container,
                                   const WorkerRequest& request, double deadline_s,
                                   const std::string& program = {});
  // Messages from a descriptor without a process behind it, which it takes: for tests of what reads
  // them.
  static MediaWorker attach(int output, double deadline_s) {
    return {std::nullopt, UniqueFd(output), deadline_s};
  }

  // The next message's header, its tag one of WorkerTag. The worker's own refusal is this call's
  // error, and so is its end before kDone.
  Result<WorkerHeader> next();
  // The payload of the message, in one piece or several.
  Status read(void* to, size_t bytes);

 private:
  MediaWorker(std::optional<ChildProcess> process, UniqueFd output, double deadline_s);
  Status ended_early();
  Status refusal(uint32_t bytes);

  std::optional<ChildProcess> process_;
  UniqueFd output_;
  double deadline_s_;
  TimePoint deadline_;
};

}  // namespace tutti
