#include "serve/adapters.h"

#include <fmt/format.h>

#include <filesystem>

#include "media/media_source.h"
#include "serve/api_error.h"

namespace tutti::serve {

namespace fs = std::filesystem;

Result<std::string> Adapters::check_path(const std::string& path) const {
  if (directories_.empty()) {
    return invalid_argument(
               "This server loads no adapters for clients; --allowed-lora-path lets it load "
               "those below a directory.")
        .with_param("lora_path");
  }
  std::error_code error;
  const fs::path resolved = fs::weakly_canonical(path, error);
  for (const std::string& allowed : directories_) {
    std::error_code missing;
    const fs::path directory = fs::canonical(allowed, missing);
    if (!error && !missing && is_below(resolved, directory)) return resolved.string();
  }
  return invalid_argument(
             fmt::format("`lora_path` is '{}'; it must be below a directory that the operator "
                         "allows.",
                         printable(path)))
      .with_param("lora_path");
}

}  // namespace tutti::serve
