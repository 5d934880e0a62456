// InProcStageClient: a replica as a thread of this process, named "stage-N-R". The thread loads the
// engine, then: take commands, run a step while there is work, post what came of it, sleep.
//
// Thread: see StageClient. Ownership: the thread shares ownership of everything it uses, so that a
// replica that does not end in time can be left behind without dangling references.
#pragma once

#include <memory>
#include <thread>

#include "stages/replica_core.h"

namespace tutti {

struct InProcOptions {
  size_t mailbox_capacity = 1024;
  // How long the thread spins for the next command after it had work, before it sleeps.
  Duration spin = std::chrono::microseconds(100);
};

class InProcStageClient final : public StageClient {
 public:
  InProcStageClient(StageId stage, ReplicaId replica, std::shared_ptr<const StageGraph> graph,
                    StageEngineFactory factory, StageEventSink sink, InProcOptions options = {});
  // Stops; waits for the thread for a bounded time.
  ~InProcStageClient() override;

  bool try_send(StageCommand& command) override;
  EngineStats stats() const override;
  void stop() override;
  bool join(Deadline deadline) override;

 private:
  struct Shared;
  static void run(const std::shared_ptr<Shared>& shared);
  static void serve(Shared& shared, ReplicaCore& core);

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace tutti
