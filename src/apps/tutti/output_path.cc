#include "apps/tutti/output_path.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

namespace tutti::cli {

Status check_output_path(const std::string& path) {
  namespace fs = std::filesystem;
  if (path.empty()) return {};
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return invalid_argument(fmt::format("cannot write '{}': it is a directory", path));
  }
  const fs::path parent = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : ".";
  if (!fs::is_directory(parent, error)) {
    return invalid_argument(
        fmt::format("cannot write '{}': there is no directory '{}'", path, parent.string()));
  }
  const std::string probe = fs::exists(path, error) ? path : parent.string();
  if (access(probe.c_str(), W_OK) != 0) {
    return invalid_argument(fmt::format("cannot write '{}': permission denied", path));
  }
  return {};
}

}  // namespace tutti::cli
