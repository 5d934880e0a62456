#include "process_usage.h"

#include <filesystem>
#include <fstream>

namespace tutti::bench {

namespace fs = std::filesystem;

double ProcessUsage::cpu_of(const std::string& name) const {
  const auto found = cpu_s.find(name);
  return found == cpu_s.end() ? 0 : found->second;
}

double ProcessUsage::cpu_total() const {
  double sum = 0;
  for (const auto& [name, seconds] : cpu_s) sum += seconds;
  return sum;
}

ProcessUsage process_usage(pid_t process) {
  ProcessUsage usage;
  const fs::path root = "/proc/" + std::to_string(process);
  std::ifstream status(root / "status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) usage.resident_mib = std::stod(line.substr(6)) / 1024;
  }
  std::error_code gone;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(root / "fd", gone)) {
    ++usage.descriptors;
  }
  for (const auto& task : fs::directory_iterator(root / "task", gone)) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm") >> std::ws, name);
    double ran_ns = 0;
    std::ifstream(task.path() / "schedstat") >> ran_ns;
    while (!name.empty() && (std::isdigit(name.back()) != 0 || name.back() == '-')) name.pop_back();
    usage.cpu_s[name] += ran_ns / 1e9;
  }
  return usage;
}

}  // namespace tutti::bench
