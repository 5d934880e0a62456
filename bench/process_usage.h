// Memory and CPU time of another process of this machine, from /proc.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

namespace tutti::bench {

struct ProcessUsage {
  double resident_mib = 0;
  int descriptors = 0;
  // Seconds of CPU by the name of the thread, its number left out: "http" of "http-0" and "http-1".
  std::map<std::string, double> cpu_s;

  double cpu_of(const std::string& name) const;
  double cpu_total() const;
};

// All zero when there is no such process.
ProcessUsage process_usage(pid_t process);

}  // namespace tutti::bench
