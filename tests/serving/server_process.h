// A running `tutti serve` on a free port of this machine.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace tutti::testing {

// Ended and reaped by the destructor.
class ServerProcess {
 public:
  explicit ServerProcess(const std::vector<std::string>& flags = {});
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  int port() const { return port_; }  // 0: it has not started
  void signal(int number) const;
  // Exit code, 128 + signal when one ended it.
  int wait();
  int stop();  // with SIGTERM
  // Descriptors that the process has open.
  int open_files() const;

 private:
  pid_t pid_ = -1;
  int port_ = 0;
};

}  // namespace tutti::testing
