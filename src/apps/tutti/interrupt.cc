#include "apps/tutti/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

namespace tutti::cli {

namespace {
volatile std::sig_atomic_t g_interrupted = 0;
// Readable once a signal has come; a handler may write to it.
const int g_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

void on_signal(int signal) {
  if (g_interrupted != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_interrupted = 1;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(g_event, &one, sizeof(one));
}
}  // namespace

InterruptGuard::InterruptGuard() {
  reset();
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

void InterruptGuard::reset() {
  g_interrupted = 0;
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t taken = read(g_event, &count, sizeof(count));
}

void InterruptGuard::wait() const {
  pollfd event{g_event, POLLIN, 0};
  while (!interrupted()) poll(&event, 1, -1);
}

bool InterruptGuard::interrupted() const { return g_interrupted != 0; }

}  // namespace tutti::cli
