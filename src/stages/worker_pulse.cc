#include "stages/worker_pulse.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tutti {
namespace {

constexpr size_t kPageBytes = 4096;

Status system_error(const char* what) {
  return internal_error(
      fmt::format("Watching a worker process failed: {}: {}.", what, std::strerror(errno)));
}

}  // namespace

struct WorkerPulse::Page {
  std::atomic<uint64_t> beats{0};
  std::atomic<uint64_t> turns{0};
};
static_assert(std::atomic<uint64_t>::is_always_lock_free, "shared between processes");

class WorkerPulse::Mapping {
 public:
  Mapping(UniqueFd memory, void* at) : memory_(std::move(memory)), page_(static_cast<Page*>(at)) {}
  ~Mapping() { munmap(page_, kPageBytes); }
  Mapping(const Mapping&) = delete;
  int fd() const { return memory_.get(); }
  Page& page() const { return *page_; }

 private:
  const UniqueFd memory_;
  Page* const page_;
};

Result<WorkerPulse> WorkerPulse::create() {
  UniqueFd memory(memfd_create("tutti-pulse", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return system_error("memfd_create");
  if (ftruncate(memory.get(), kPageBytes) != 0) return system_error("ftruncate");
  // A mapping of a file that shrinks is a trap.
  fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return open(std::move(memory));
}

Result<WorkerPulse> WorkerPulse::open(UniqueFd memory) {
  struct stat info = {};
  if (fstat(memory.get(), &info) != 0) return system_error("fstat");
  if (info.st_size != kPageBytes)
    return internal_error("The pulse of a worker process is damaged.");
  // A new file is zeros, which is how both counters begin.
  void* at = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (at == MAP_FAILED) return system_error("mmap");
  return WorkerPulse(std::make_shared<Mapping>(std::move(memory), at));
}

int WorkerPulse::memory_fd() const { return mapping_->fd(); }

void WorkerPulse::beat() const { mapping_->page().beats.fetch_add(1, std::memory_order_relaxed); }
void WorkerPulse::progress() const {
  mapping_->page().turns.fetch_add(2, std::memory_order_relaxed);
}
void WorkerPulse::begin_turn() const {
  mapping_->page().turns.fetch_add(1, std::memory_order_relaxed);
}
void WorkerPulse::end_turn() const {
  mapping_->page().turns.fetch_add(1, std::memory_order_relaxed);
}

uint64_t WorkerPulse::beats() const {
  return mapping_->page().beats.load(std::memory_order_relaxed);
}
uint64_t WorkerPulse::turns() const {
  return mapping_->page().turns.load(std::memory_order_relaxed);
}

Status WorkerWatch::look(TimePoint now, uint64_t beats, uint64_t turns) {
  const double most_s = 2 * to_seconds(WorkerPulse::kInterval);
  const double passed_s =
      last_look_ == TimePoint() ? 0 : std::min(most_s, to_seconds(now - last_look_));
  last_look_ = now;
  silent_s_ = beats == beats_ ? silent_s_ + passed_s : 0;
  in_turn_s_ = turns == turns_ && turns % 2 == 1 ? in_turn_s_ + passed_s : 0;
  beats_ = beats;
  turns_ = turns;
  if (silent_s_ >= silence_limit_s_) {
    return unavailable(fmt::format("has given no sign of life for {} s", silence_limit_s_));
  }
  // A stopped worker makes no turns either, and shall be told apart.
  if (in_turn_s_ >= turn_limit_s_ && silent_s_ == 0) {
    return unavailable(fmt::format("has been in the same step for {} s", turn_limit_s_));
  }
  return {};
}

}  // namespace tutti
