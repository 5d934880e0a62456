#include "stages/client_reaper.h"

#include <limits>

#include "base/log.h"
#include "base/thread.h"
#include "stages/replica_core.h"

namespace tutti {
namespace {
constexpr double kJoinTimeout_s = 10;
}

// Without a bound of its own: every element is a replica that was alive, and those are bounded.
ClientReaper::ClientReaper() : clients_(std::numeric_limits<size_t>::max()) {}

ClientReaper::~ClientReaper() {
  clients_.close();
  if (thread_.joinable()) thread_.join();
}

void ClientReaper::take(std::shared_ptr<StageClient> client) {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  clients_.try_push(std::move(client));
}

void ClientReaper::loop() {
  set_thread_name("reaper");
  while (auto client = clients_.pop(Deadline::never())) {
    try {
      // A client that does not end in time is left behind by its destructor.
      (*client)->join(Deadline::after(kJoinTimeout_s));
      client->reset();
    } catch (...) {
      spdlog::error("{}", status_of_current_exception("Ending a replica").message());
    }
  }
}

}  // namespace tutti
