#include "media/media_worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "media/media_file.h"

namespace tutti {
namespace {

constexpr const char* kProgram = "tutti-media";
constexpr const char* kProgramVariable = "TUTTI_MEDIA_WORKER";
constexpr uint32_t kLastTag = static_cast<uint32_t>(WorkerTag::kDone);

Status system_error(const char* what, int error) {
  return internal_error(fmt::format("{} failed: {}", what, std::strerror(error)));
}

Status write_all(int fd, const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = write(fd, at, bytes);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return system_error("handing the file to its decoder", errno);
    at += wrote;
    bytes -= static_cast<size_t>(wrote);
  }
  return {};
}

// The worker's input: a file in memory that nobody can change any more.
Result<UniqueFd> sealed_input(std::span<const std::byte> container, const WorkerRequest& request) {
  UniqueFd file(memfd_create("tutti-media", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return system_error("handing the file to its decoder", errno);
  TUTTI_RETURN_IF_ERROR(write_all(file.get(), &request, sizeof request));
  TUTTI_RETURN_IF_ERROR(write_all(file.get(), container.data(), container.size()));
  fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  return file;
}

}  // namespace

MediaWorker::MediaWorker(std::optional<ChildProcess> process, UniqueFd output, double deadline_s)
    : process_(std::move(process)),
      output_(std::move(output)),
      deadline_s_(deadline_s),
      deadline_(Clock::steady().now() + from_seconds(deadline_s)) {}

Result<MediaWorker> MediaWorker::start(std::span<const std::byte> container,
                                       const WorkerRequest& request, double deadline_s,
                                       const std::string& program) {
  TUTTI_ASSIGN_OR_RETURN(const UniqueFd input, sealed_input(container, request));
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("starting the decoder", errno);
  UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  Result<ChildProcess> process = ChildProcess::start(
      program.empty() ? find_helper_program(kProgram, kProgramVariable) : program, {},
      {.input = input.get(), .output = writer.get(), .last_words = false, .environment = false});
  if (process) return MediaWorker(std::move(process).value(), std::move(reader), deadline_s);
  return internal_error(
      fmt::format("the decoder of containers is not available (it belongs beside the program, or "
                  "{} names it): {}",
                  kProgramVariable, process.error().message()));
}

Status MediaWorker::ended_early() {
  // Its output is closed, so that it is ending; a program that lingers is killed at the deadline.
  if (process_ && !process_->wait(Deadline::at(deadline_))) {
    process_->kill();
    process_->wait(Deadline::never());
  }
  if (process_ && process_->signal() != 0) {
    return invalid_argument(
        fmt::format("it cannot be decoded: its decoder {}", process_->how_it_ended()));
  }
  return internal_error("the decoder ended without a result");
}

Status MediaWorker::read(void* to, size_t bytes) {
  char* at = static_cast<char*>(to);
  while (bytes > 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::steady().now())
            .count();
    pollfd waiting = {output_.get(), POLLIN, 0};
    const int ready =
        left <= 0 ? 0 : poll(&waiting, 1, static_cast<int>(std::min<int64_t>(left, 1'000'000)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return system_error("waiting for the decoder", errno);
    if (ready == 0) {
      if (left > 0) continue;
      return deadline_exceeded(
          fmt::format("decoding took longer than the {:g} s that are allowed", deadline_s_));
    }
    const ssize_t got = ::read(output_.get(), at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("reading from the decoder", errno);
    if (got == 0) return ended_early();
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return {};
}

Status MediaWorker::refusal(uint32_t bytes) {
  if (bytes < 2 || bytes > kMostFailureBytes) {
    return internal_error(fmt::format("the decoder sent an error of {} bytes", bytes));
  }
  std::string text(bytes, '\0');
  TUTTI_RETURN_IF_ERROR(read(text.data(), text.size()));
  const bool too_large = text.front() == 1;
  text.erase(0, 1);
  std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return too_large ? payload_too_large(text) : invalid_argument(text);
}

Result<WorkerHeader> MediaWorker::next() {
  WorkerHeader header;
  TUTTI_RETURN_IF_ERROR(read(&header, sizeof header));
  const auto tag = static_cast<uint32_t>(header.tag);
  if (tag == 0 || tag > kLastTag) {
    return internal_error(fmt::format("the decoder sent a message of the unknown kind {}", tag));
  }
  if (header.tag == WorkerTag::kFailed) return refusal(header.bytes);
  return header;
}

}  // namespace tutti
