#include "models/bundled.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "base/strings.h"

namespace tutti {

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> search_path() {
  std::vector<fs::path> folders;
  if (const char* folder = std::getenv("TUTTI_MODELS")) folders.emplace_back(folder);
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    // <tree>/build/<preset>/tutti, or <prefix>/bin/tutti
    folders.push_back(program.parent_path().parent_path().parent_path() / "models");
    folders.push_back(program.parent_path().parent_path() / "share/tutti/models");
  }
  return folders;
}

bool is_model(const fs::path& dir) {
  std::error_code ignored;
  return fs::is_regular_file(dir / "config.json", ignored);
}

}  // namespace

std::vector<std::string> bundled_models() {
  std::set<std::string> names;
  for (const fs::path& folder : search_path()) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      if (is_model(entry.path())) names.insert(entry.path().filename().string());
    }
  }
  return {names.begin(), names.end()};
}

Result<fs::path> resolve_model(const std::string& model) {
  std::error_code ignored;
  if (fs::is_directory(model, ignored)) return fs::path(model);
  const bool is_name = !model.empty() && model.find('/') == std::string::npos && model[0] != '.';
  if (is_name) {
    for (const fs::path& folder : search_path()) {
      if (is_model(folder / model)) return folder / model;
    }
  }
  const std::vector<std::string> names = bundled_models();
  return not_found("The model '" + model + "' is not a directory" +
                   (names.empty() ? "; it must be a model directory in Hugging Face layout."
                                  : ", nor a bundled model; bundled are: " + join(names) + "."));
}

}  // namespace tutti
