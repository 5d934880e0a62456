// ProcessStageClient: a replica as a worker process of this host. Small commands are written to its
// socket by the caller itself; large ones, and what the socket refuses, by the client's own thread
// ("worker-N-R"), which also starts the program, posts what the worker reports, and reaps it.
//
// A worker's death is noticed by the end of its socket, and one that is stopped or hangs is killed
// (WorkerWatch); the client then posts DiedEvent with how it ended and its last words. The worker
// dies with this process (die_with_parent()). Thread: see StageClient. Ownership: as
// InProcStageClient; the process, its channel and descriptors belong to the thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "stages/message_channel.h"
#include "stages/stage_client.h"
#include "stages/wire_messages.h"

namespace tutti {

struct ProcessOptions {
  // Empty: TUTTI_WORKER of the environment, or `tutti-worker` beside the running program.
  std::string program;
  // For the worker's loader, which knows how to read it.
  std::string load_spec;
  // Commands that wait here while the worker's socket is full.
  size_t mailbox_capacity = 1024;
  // How long the thread looks for further events after one came, before it sleeps.
  Duration spin = std::chrono::microseconds(20);
  ChannelOptions channel;
  // From the start of the program to its first word.
  double start_timeout_s = 60;
  // From its first word until it is loaded.
  double load_timeout_s = 600;
  // A worker whose pulse is still for so long is stopped, or has lost its machine: it is killed.
  // Its pulse needs a core for microseconds, which even a crowded host gives within seconds.
  double silence_timeout_s = 20;
  // The longest step. Half an hour: 2048 tokens of a model of 30 billion parameters are 0.1 PFLOP,
  // 20 minutes for one slow core; what takes longer hangs.
  double step_timeout_s = 1800;
  // Loading goes on; false: nobody waits for it any more.
  std::function<bool(double fraction, const std::string& what)> on_progress;
  // Before ReadyEvent.
  std::function<void(const WorkerLoaded&)> on_loaded;
};

class ProcessStageClient final : public StageClient {
 public:
  ProcessStageClient(StageId stage, ReplicaId replica, StageEventSink sink, ProcessOptions options);
  ~ProcessStageClient() override;

  bool try_send(StageCommand& command) override;
  EngineStats stats() const override;
  void stop() override;
  // Kills the worker when the deadline comes first, and waits for its end then.
  bool join(Deadline deadline) override;

  // -1 before it was started.
  pid_t process_id() const;

 private:
  struct Shared;

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace tutti
