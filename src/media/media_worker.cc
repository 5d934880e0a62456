#include "media/media_worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/child_process.h"
#include "media/media_file.h"

namespace tutti {
namespace {

constexpr const char* kProgram = "tutti-media";
constexpr const char* kProgramVariable = "TUTTI_MEDIA_WORKER";
constexpr uint32_t kLastTag = static_cast<uint32_t>(WorkerTag::kDone);

Status system_error(const char* what, int error) {
  return internal_error(fmt::format("{} failed: {}", what, std::strerror(error)));
}

// A descriptor above the three streams, so that none of them is overwritten while a child is set
// up.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {
    if (fd_ < 0 || fd_ > STDERR_FILENO) return;
    fd_ = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

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
Result<Descriptor> sealed_input(std::span<const std::byte> container,
                                const WorkerRequest& request) {
  Descriptor file(memfd_create("tutti-media", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (file.get() < 0) return system_error("handing the file to its decoder", errno);
  TUTTI_RETURN_IF_ERROR(write_all(file.get(), &request, sizeof request));
  TUTTI_RETURN_IF_ERROR(write_all(file.get(), container.data(), container.size()));
  fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  return file;
}

// Without the engine's environment, descriptors, signal mask and process group.
Result<pid_t> spawn(const std::string& program, int input, int output) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  char* arguments[] = {const_cast<char*>(kProgram), nullptr};
  char* environment[] = {nullptr};
  pid_t process = -1;
  const int error =
      posix_spawn(&process, program.c_str(), &files, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error == 0) return process;
  return internal_error(fmt::format(
      "the decoder of containers cannot be started: '{}': {}; it belongs beside the program, or {} "
      "names it",
      program, std::strerror(error), kProgramVariable));
}

}  // namespace

MediaWorker::MediaWorker(pid_t process, int output, double deadline_s)
    : process_(process),
      output_(output),
      deadline_s_(deadline_s),
      deadline_(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(deadline_s))) {}

MediaWorker::MediaWorker(MediaWorker&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      output_(std::exchange(other.output_, -1)),
      deadline_s_(other.deadline_s_),
      deadline_(other.deadline_) {}

MediaWorker::~MediaWorker() {
  end();
  if (output_ >= 0) close(output_);
}

Result<MediaWorker> MediaWorker::start(std::span<const std::byte> container,
                                       const WorkerRequest& request, double deadline_s,
                                       const std::string& program) {
  TUTTI_ASSIGN_OR_RETURN(const Descriptor input, sealed_input(container, request));
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("starting the decoder", errno);
  Descriptor reader(ends[0]);
  const Descriptor writer(ends[1]);
  TUTTI_ASSIGN_OR_RETURN(
      const pid_t process,
      spawn(program.empty() ? find_helper_program(kProgram, kProgramVariable) : program,
            input.get(), writer.get()));
  return MediaWorker(process, reader.release(), deadline_s);
}

int MediaWorker::end() {
  const pid_t process = std::exchange(process_, -1);
  if (process <= 0) return -1;
  kill(-process, SIGKILL);  // the group: whatever it started, too
  int status = -1;
  while (waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return status;
}

Status MediaWorker::ended_early() {
  const pid_t process = process_;
  // Its output is closed, so that it is ending; a program that lingers is killed at the deadline.
  int status = -1;
  while (process > 0 && Clock::now() < deadline_) {
    const pid_t reaped = waitpid(process, &status, WNOHANG);
    if (reaped < 0 && errno == EINTR) continue;
    if (reaped != 0) {
      process_ = -1;
      break;
    }
    usleep(1000);
  }
  if (process_ > 0) status = end();
  if (status >= 0 && WIFSIGNALED(status)) {
    return invalid_argument(
        fmt::format("it cannot be decoded: its decoder was ended by signal {} ({})",
                    WTERMSIG(status), strsignal(WTERMSIG(status))));
  }
  return internal_error("the decoder ended without a result");
}

Status MediaWorker::read(void* to, size_t bytes) {
  char* at = static_cast<char*>(to);
  while (bytes > 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    pollfd waiting = {output_, POLLIN, 0};
    const int ready =
        left <= 0 ? 0 : poll(&waiting, 1, static_cast<int>(std::min<int64_t>(left, 1'000'000)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return system_error("waiting for the decoder", errno);
    if (ready == 0) {
      if (left > 0) continue;
      return deadline_exceeded(
          fmt::format("decoding took longer than the {:g} s that are allowed", deadline_s_));
    }
    const ssize_t got = ::read(output_, at, bytes);
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
