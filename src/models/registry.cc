// The one place that names the model families.
#include <algorithm>

#include "base/json_file.h"
#include "base/strings.h"
#include "models/config_reader.h"
#include "models/pipeline.h"
#include "models/qwen3_omni_moe/pipeline.h"

namespace tutti {

const std::vector<ModelFamily>& model_families() {
  static const std::vector<ModelFamily> families = {
      {"qwen3_omni_moe", {"qwen3_omni_moe"}, qwen3_omni_moe::open},
  };
  return families;
}

Result<std::unique_ptr<Pipeline>> open_pipeline(const LoadOptions& options) {
  const std::string dir = options.model_dir.string();
  std::error_code ignored;
  if (!std::filesystem::exists(options.model_dir, ignored)) {
    return not_found("Model directory '" + dir + "' does not exist.");
  }
  if (!std::filesystem::is_directory(options.model_dir, ignored)) {
    return invalid_argument("'" + dir + "' is not a directory; expected a model directory in " +
                            "Hugging Face layout.");
  }
  const auto path = options.model_dir / "config.json";
  if (!std::filesystem::exists(path, ignored)) {
    return invalid_argument("'" + dir + "' is not a model directory: it has no config.json.");
  }
  TUTTI_ASSIGN_OR_RETURN(const boost::json::object root, read_json_object(path));
  Status status;
  const ConfigReader reader(root, path.string(), "", status);
  const std::string model_type = reader.string("model_type", "");
  TUTTI_RETURN_IF_ERROR(status);
  std::vector<std::string> known;
  for (const ModelFamily& family : model_families()) {
    for (const std::string& type : family.model_types) {
      if (type == model_type) return family.open(options);
      known.push_back(type);
    }
  }
  const std::string found =
      model_type.empty() ? "no `model_type`" : "`model_type` '" + model_type + "'";
  return invalid_argument("'" + path.string() + "' has " + found + "; known are: " + join(known) +
                          ".");
}

}  // namespace tutti
