#include "process_watch.h"

#include <malloc.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace tutti::chaos {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// The number behind `--name=` among a process's arguments.
int32_t argument(const std::string& arguments, const std::string& name) {
  const size_t at = arguments.find("--" + name + "=");
  return at == std::string::npos ? -1 : std::atoi(arguments.c_str() + at + name.size() + 3);
}

int64_t status_kib(const std::string& status, const std::string& key) {
  const size_t at = status.find(key + ":");
  return at == std::string::npos ? 0 : std::atoll(status.c_str() + at + key.size() + 1);
}

}  // namespace

std::vector<Child> children() {
  std::vector<Child> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = contents(entry.path() / "stat");
    // "id (program) state parent ..."; the program's name may have anything in it.
    const size_t end = stat.rfind(") ");
    if (end == std::string::npos) continue;
    char state = 0;
    int parent = 0;
    std::istringstream(stat.substr(end + 2)) >> state >> parent;
    if (parent != getpid()) continue;
    std::string arguments = contents(entry.path() / "cmdline");
    std::ranges::replace(arguments, '\0', ' ');
    found.push_back({.id = std::stoi(name),
                     .stage = argument(arguments, "stage"),
                     .replica = argument(arguments, "replica"),
                     .zombie = state == 'Z'});
  }
  return found;
}

Holdings holdings() {
  malloc_trim(0);
  Holdings out;
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = fs::read_symlink(entry.path(), error);
    ++out.descriptors;
    if (target.starts_with("/memfd:")) files.insert(entry.path().filename());
  }
  std::istringstream maps(contents("/proc/self/maps"));
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:tutti") != std::string::npos) files.insert(line);
  }
  out.shared_files = static_cast<int64_t>(files.size());
  struct statvfs shm = {};
  if (statvfs("/dev/shm", &shm) == 0) {
    out.shared_bytes = static_cast<int64_t>((shm.f_blocks - shm.f_bfree) * shm.f_frsize);
  }
  const std::string status = contents("/proc/self/status");
  out.resident_bytes = 1024 * status_kib(status, "VmRSS");
  out.threads = status_kib(status, "Threads");
  for (const Child& child : children()) {
    out.workers_resident_bytes +=
        1024 * status_kib(contents("/proc/" + std::to_string(child.id) + "/status"), "VmRSS");
  }
  return out;
}

}  // namespace tutti::chaos
