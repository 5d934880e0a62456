#include "fuzz/worker_job.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "apps/media_worker/job.h"
#include "apps/media_worker/output.h"

namespace tutti {
namespace {

std::vector<std::byte>& output() {
  static std::vector<std::byte> bytes;
  return bytes;
}

void put(const void* data, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(data);
  output().insert(output().end(), begin, begin + bytes);
}

int memory_file(const void* data, size_t bytes) {
  const int file = memfd_create("tutti_fuzz", MFD_CLOEXEC);
  if (file < 0 || pwrite(file, data, bytes, 0) != static_cast<ssize_t>(bytes)) std::abort();
  return file;
}

}  // namespace

namespace media_worker {

// The worker's output.h for fuzzers.
void write_message(WorkerTag tag, const void* data, size_t bytes) {
  const WorkerHeader header = {tag, static_cast<uint32_t>(bytes)};
  put(&header, sizeof header);
  put(data, bytes);
}

void fail(std::string_view sentence, FailureKind) {
  throw fuzzing::JobFailed{std::string(sentence)};
}

void fail_with(int error, std::string_view what) { fail(fmt::format("{}: {}", what, error)); }

}  // namespace media_worker

namespace fuzzing {

std::vector<std::byte> run_worker_job(const WorkerRequest& request, const uint8_t* container,
                                      size_t size) {
  static const bool ready = [] {
    av_log_set_level(AV_LOG_QUIET);
    // In the worker the limit is the process's.
    av_max_alloc(size_t{256} << 20);
    return true;
  }();
  (void)ready;
  const int file = memory_file(container, size);
  if (dup2(file, STDIN_FILENO) < 0) std::abort();
  close(file);
  output().clear();
  media_worker::run_job(request, {0, static_cast<int64_t>(size), 0});
  return output();
}

MediaWorker worker_that_wrote(std::span<const std::byte> messages) {
  constexpr double kDeadline_s = 60;
  return MediaWorker::attach(memory_file(messages.data(), messages.size()), kDeadline_s);
}

}  // namespace fuzzing
}  // namespace tutti
