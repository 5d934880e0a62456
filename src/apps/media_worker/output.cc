#include "apps/media_worker/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <string>

extern "C" {
#include <libavutil/error.h>
}

namespace tutti::media_worker {

namespace {

constexpr int kExitFailed = 1;

void write_all(const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = write(STDOUT_FILENO, at, bytes);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) _exit(kExitFailed);  // the engine has gone
    at += wrote;
    bytes -= static_cast<size_t>(wrote);
  }
}

}  // namespace

void write_message(WorkerTag tag, const void* data, size_t bytes) {
  const WorkerHeader header = {tag, static_cast<uint32_t>(bytes)};
  write_all(&header, sizeof header);
  write_all(data, bytes);
}

void fail(std::string_view sentence, FailureKind kind) {
  std::string payload(1, static_cast<char>(kind));
  payload += sentence.substr(0, kMostFailureBytes - 1);
  write_message(WorkerTag::kFailed, payload.data(), payload.size());
  _exit(kExitFailed);
}

void fail_with(int error, std::string_view what) {
  if (error == AVERROR(ENOMEM)) {
    fail(fmt::format("{} needs more memory than is allowed", what), FailureKind::kTooLarge);
  }
  char why[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, why, sizeof why);
  fail(fmt::format("{} failed; the container is truncated or corrupt ({})", what, why));
}

}  // namespace tutti::media_worker
