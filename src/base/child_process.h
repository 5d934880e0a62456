// ChildProcess: a helper program of this process: started without fork, never left as a zombie,
// killed by the destructor.
//
// Thread: one at a time, except kill(). Start it from a thread that outlives it: a child that asked
// to die with its parent (die_with_parent()) dies with the thread that started it.
// Invariants: the child gets three standard streams and at most one further descriptor, nothing
// else; it is in a process group of its own, so that a Ctrl-C at the terminal is its parent's
// business.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "tutti/status.h"

#include "base/clock.h"
#include "base/unique_fd.h"

namespace tutti {

// The number under which a child finds the descriptor that it was given.
constexpr int kChildDescriptor = 3;

// Where a helper program is: what `variable` of the environment names, else `name` beside the
// running program.
std::string find_helper_program(const char* name, const char* variable);

// What a child is given of its parent. Descriptors are borrowed for the call.
struct ChildResources {
  int input = -1;          // standard input; -1: empty
  int output = -1;         // standard output; -1: goes nowhere
  int descriptor = -1;     // becomes kChildDescriptor; -1: there is none
  bool last_words = true;  // standard error comes out of last_words_fd(); else it goes nowhere
  bool environment = true;
};

class ChildProcess {
 public:
  static Result<ChildProcess> start(const std::string& program, std::vector<std::string> arguments,
                                    const ChildResources& resources);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  pid_t id() const { return process_; }
  // Becomes readable when the process has ended.
  int exit_fd() const { return exit_.get(); }
  // Its standard error, non-blocking, to be read while it runs; stays open after the end for what
  // was written before. -1: it was not asked for.
  int last_words_fd() const { return errors_.get(); }
  // Any thread, also after the end.
  void kill() const;
  // Waits until it has ended and reaps it; false when the deadline came first.
  bool wait(Deadline deadline);
  // After wait(): the signal that ended it; 0 when it was none.
  int signal() const;
  // After wait(): "was killed by signal 9 (Killed)", "exited with code 3".
  std::string how_it_ended() const;

 private:
  ChildProcess(pid_t process, UniqueFd exit, UniqueFd errors)
      : process_(process), exit_(std::move(exit)), errors_(std::move(errors)) {}

  pid_t process_;
  UniqueFd exit_;
  UniqueFd errors_;
  std::optional<int> status_;  // of waitpid(), once reaped
};

// In the child: the kernel kills this process when `parent` ends. Ends it here and now when that
// has already happened.
void die_with_parent(pid_t parent);

}  // namespace tutti
