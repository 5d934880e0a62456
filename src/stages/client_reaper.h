// ClientReaper: waits for replicas that have been told to stop, so that the orchestrator need not.
//
// Thread: take() from any; the destructor ends the thread within one client's bounded wait. Owns
// what it was given until it has ended or been left behind. The thread starts with the first
// client.
#pragma once

#include <memory>
#include <mutex>
#include <thread>

#include "base/dual_queue.h"
#include "stages/stage_client.h"

namespace tutti {

class ClientReaper {
 public:
  ClientReaper();
  ~ClientReaper();
  void take(std::shared_ptr<StageClient> client);

 private:
  void loop();

  DualQueue<std::shared_ptr<StageClient>> clients_;
  std::mutex mutex_;
  std::thread thread_;
};

}  // namespace tutti
