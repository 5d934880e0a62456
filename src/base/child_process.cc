#include "base/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace tutti {
namespace {

Status system_error(const char* what, int error) {
  return internal_error(
      fmt::format("Starting a helper process failed: {}: {}.", what, std::strerror(error)));
}

// What the three streams and kChildDescriptor will be, above the numbers that they get, so that
// none is overwritten while they are put in place.
struct Streams {
  UniqueFd input, output, errors, descriptor;
};

UniqueFd above_own(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, kChildDescriptor + 1)); }

bool copy_above(int fd, UniqueFd& copy) {
  if (fd >= 0) copy = above_own(fd);
  return fd < 0 || copy;
}

void add_stream(posix_spawn_file_actions_t& files, const UniqueFd& given, int stream, int flags) {
  if (given) {
    posix_spawn_file_actions_adddup2(&files, given.get(), stream);
  } else {
    posix_spawn_file_actions_addopen(&files, stream, "/dev/null", flags, 0);
  }
}

int spawn(const std::string& program, std::vector<std::string>& arguments, const Streams& streams,
          bool environment, pid_t* process) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  add_stream(files, streams.input, STDIN_FILENO, O_RDONLY);
  add_stream(files, streams.output, STDOUT_FILENO, O_WRONLY);
  add_stream(files, streams.errors, STDERR_FILENO, O_WRONLY);
  if (streams.descriptor) add_stream(files, streams.descriptor, kChildDescriptor, O_RDONLY);
  posix_spawn_file_actions_addclosefrom_np(&files, kChildDescriptor + (streams.descriptor ? 1 : 0));
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
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  char* nothing[] = {nullptr};
  const int error = posix_spawn(process, program.c_str(), &files, &attributes, argv.data(),
                                environment ? environ : nothing);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

// Milliseconds for poll(); at most a minute, the caller looks again.
int poll_timeout(Deadline deadline) {
  constexpr int64_t kMost_ms = 60'000;
  if (deadline.is_never()) return kMost_ms;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline.time() - Clock::steady().now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, kMost_ms));
}

}  // namespace

std::string find_helper_program(const char* name, const char* variable) {
  if (const char* named = std::getenv(variable); named != nullptr && *named != '\0') return named;
  std::array<char, 4096> path;
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) return name;
  const std::string self(path.data(), static_cast<size_t>(size));
  return self.substr(0, self.rfind('/') + 1) + name;
}

Result<ChildProcess> ChildProcess::start(const std::string& program,
                                         std::vector<std::string> arguments,
                                         const ChildResources& resources) {
  std::array<int, 2> ends = {-1, -1};
  if (resources.last_words && pipe2(ends.data(), O_CLOEXEC) != 0)
    return system_error("pipe", errno);
  UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  Streams streams;
  if (!copy_above(resources.input, streams.input) ||
      !copy_above(resources.output, streams.output) || !copy_above(ends[1], streams.errors) ||
      !copy_above(resources.descriptor, streams.descriptor)) {
    return system_error("dup", errno);
  }
  if (reader) fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  arguments.insert(arguments.begin(), program.substr(program.rfind('/') + 1));
  pid_t process = -1;
  if (const int error = spawn(program, arguments, streams, resources.environment, &process)) {
    return internal_error(
        fmt::format("The program '{}' cannot be started: {}.", program, std::strerror(error)));
  }
  UniqueFd exit(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
  const int error = errno;
  const bool opened = static_cast<bool>(exit);
  ChildProcess child(process, std::move(exit), std::move(reader));
  if (!opened) return system_error("pidfd_open", error);
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      exit_(std::move(other.exit_)),
      errors_(std::move(other.errors_)),
      status_(other.status_) {}

ChildProcess::~ChildProcess() {
  if (process_ <= 0 || status_) return;
  ::kill(-process_, SIGKILL);  // the group: whatever it started, too
  while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void ChildProcess::kill() const {
  // Not by its number, which another process may have by now.
  if (exit_) syscall(SYS_pidfd_send_signal, exit_.get(), SIGKILL, nullptr, 0);
}

bool ChildProcess::wait(Deadline deadline) {
  while (!status_) {
    int status = 0;
    const pid_t reaped = waitpid(process_, &status, WNOHANG);
    if (reaped == process_) {
      status_ = status;
    } else if (reaped < 0 && errno != EINTR) {
      status_ = -1;  // somebody else has reaped it
    } else {
      if (deadline.passed(Clock::steady().now())) return false;
      pollfd ended = {exit_.get(), POLLIN, 0};
      poll(&ended, 1, poll_timeout(deadline));
    }
  }
  return true;
}

int ChildProcess::signal() const {
  return status_ && *status_ >= 0 && WIFSIGNALED(*status_) ? WTERMSIG(*status_) : 0;
}

std::string ChildProcess::how_it_ended() const {
  if (const int by = signal()) {
    return fmt::format("was killed by signal {} ({})", by, strsignal(by));
  }
  if (status_ && *status_ >= 0 && WIFEXITED(*status_)) {
    return fmt::format("exited with code {}", WEXITSTATUS(*status_));
  }
  return "ended";
}

void die_with_parent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
}

}  // namespace tutti
