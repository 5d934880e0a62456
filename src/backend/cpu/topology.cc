#include "backend/cpu/topology.h"

#include <sched.h>

#include <fstream>
#include <set>
#include <string>
#include <utility>

namespace tutti::cpu {

namespace {

// -1 where the kernel does not say (some containers hide it); such CPUs count as own cores.
int topology_value(int cpu, const char* name) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/" + name);
  int value = -1;
  file >> value;
  return file ? value : -1;
}

}  // namespace

std::vector<int> physical_cores() {
  std::vector<int> cores;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return {0};
  std::set<std::pair<int, int>> seen;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const int core = topology_value(cpu, "core_id");
    const int package = topology_value(cpu, "physical_package_id");
    if (core < 0 || seen.insert({package, core}).second) cores.push_back(cpu);
  }
  if (cores.empty()) cores.push_back(0);
  return cores;
}

}  // namespace tutti::cpu
