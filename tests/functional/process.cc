#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

namespace tutti::testing {

namespace {

struct Pipe {
  int read_end = -1;
  int write_end = -1;
  Pipe() {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) == 0) {
      read_end = ends[0];
      write_end = ends[1];
    }
  }
  void close_write() {
    if (write_end >= 0) close(write_end);
    write_end = -1;
  }
  ~Pipe() {
    close_write();
    if (read_end >= 0) close(read_end);
  }
};

// A file in memory; -1 when there is no input.
int file_with(const std::optional<std::string>& input) {
  if (!input) return -1;
  const int file = memfd_create("stdin", 0);
  if (write(file, input->data(), input->size()) != static_cast<ssize_t>(input->size())) return -1;
  lseek(file, 0, SEEK_SET);
  return file;
}

[[noreturn]] void become(const std::vector<std::string>& command, int in, const Pipe& out,
                         const Pipe& err) {
  if (in >= 0) dup2(in, STDIN_FILENO);
  dup2(out.write_end, STDOUT_FILENO);
  dup2(err.write_end, STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  _exit(127);
}

// False at the end of the stream.
bool read_some(int fd, std::string& into) {
  std::array<char, 4096> buffer;
  const ssize_t n = read(fd, buffer.data(), buffer.size());
  if (n <= 0) return false;
  into.append(buffer.data(), static_cast<size_t>(n));
  return true;
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

ProcessResult run_process(const std::vector<std::string>& command, const ProcessOptions& options) {
  Pipe out;
  Pipe err;
  const int in = file_with(options.input);
  const pid_t child = fork();
  if (child == 0) become(command, in, out, err);
  if (in >= 0) close(in);
  out.close_write();
  err.close_write();
  ProcessResult result;
  bool interrupted = false;
  std::array<pollfd, 2> streams = {pollfd{out.read_end, POLLIN, 0},
                                   pollfd{err.read_end, POLLIN, 0}};
  const auto begin = std::chrono::steady_clock::now();
  const auto deadline = begin + options.timeout;
  int open_streams = 2;
  while (open_streams > 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
      return result;
    }
    poll(streams.data(), streams.size(), 200);
    for (size_t i = 0; i < streams.size(); ++i) {
      if (streams[i].fd < 0 || (streams[i].revents & (POLLIN | POLLHUP)) == 0) continue;
      if (!read_some(streams[i].fd, i == 0 ? result.out : result.err)) {
        streams[i].fd = -1;
        --open_streams;
      }
    }
    const bool enough =
        options.interrupt_after_bytes && result.out.size() >= *options.interrupt_after_bytes;
    const bool late = options.interrupt_after &&
                      std::chrono::steady_clock::now() > begin + *options.interrupt_after;
    if ((enough || late) && !interrupted) {
      interrupted = true;
      kill(child, SIGINT);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  result.exit_code = exit_code_of(status);
  return result;
}

}  // namespace tutti::testing
