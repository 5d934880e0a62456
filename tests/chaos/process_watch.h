// What the system says of a process and its children: who they are, and what they hold.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tutti::chaos {

struct Child {
  pid_t id = -1;
  int32_t stage = -1;  // of a worker process; -1: another program
  int32_t replica = -1;
  bool zombie = false;
};
// Of this process, at this moment.
std::vector<Child> children();

struct Holdings {
  int64_t descriptors = 0;
  int64_t shared_files = 0;    // memfds, open or mapped
  int64_t shared_bytes = 0;    // /dev/shm
  int64_t resident_bytes = 0;  // of this process
  int64_t workers_resident_bytes = 0;
  int64_t threads = 0;
};
// After giving free heap memory back to the system.
Holdings holdings();

}  // namespace tutti::chaos
