// serve_worker(): the main loop of a worker process, the other end of a ProcessStageClient: load,
// then take commands, run a step while there is work, report what came of it, sleep.
//
// Thread: the process's main thread; one beside it beats the pulse that the parent feels. It ends
// when the parent closes the channel or dies.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "stages/stage_graph.h"
#include "stages/wire_messages.h"

namespace tutti {

struct WorkerStage {
  std::shared_ptr<const StageGraph> graph;
  std::unique_ptr<StageEngine> engine;
  int64_t max_prompt_tokens = 0;  // 0: not limited
  // Whatever the engine borrows; ends after it.
  std::shared_ptr<const void> owner;
};
// False: nobody waits for it any more.
using WorkerProgressReport = std::function<bool(double fraction, const std::string& what)>;
using WorkerLoader =
    std::function<Result<WorkerStage>(const WorkerHello& hello, const WorkerProgressReport&)>;

// The process's exit code: 0 when it was told to end; failures of loading and of steps are reported
// to the parent and end it with 0, too. 1 with a sentence on stderr when there is no parent to
// tell, or when it sends what cannot be understood.
int serve_worker(UniqueFd socket, const WorkerLoader& load);

// The whole of a worker's main(): reads the flags that ProcessStageClient gives.
int worker_main(int argc, char** argv, const WorkerLoader& load);

}  // namespace tutti
