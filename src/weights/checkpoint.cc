#include "weights/checkpoint.h"

#include <boost/json.hpp>

#include "base/json_file.h"

namespace tutti {

namespace json = boost::json;

Result<std::shared_ptr<const Checkpoint>> Checkpoint::open(const std::filesystem::path& dir) {
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint());
  checkpoint->dir_ = dir;
  std::error_code ignored;
  const auto index = dir / "model.safetensors.index.json";
  const auto single = dir / "model.safetensors";
  if (std::filesystem::exists(index, ignored)) {
    TUTTI_RETURN_IF_ERROR(checkpoint->open_sharded(index));
  } else if (std::filesystem::exists(single, ignored)) {
    TUTTI_RETURN_IF_ERROR(checkpoint->open_single(single));
  } else {
    return not_found("'" + dir.string() + "' has no weights: expected model.safetensors or " +
                     "model.safetensors.index.json.");
  }
  return std::shared_ptr<const Checkpoint>(std::move(checkpoint));
}

const CheckpointTensor* Checkpoint::find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

Status Checkpoint::open_single(const std::filesystem::path& path) {
  listing_ = path;
  TUTTI_ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(path));
  for (const auto& [name, entry] : file->entries()) tensors_[name] = {file.get(), &entry};
  files_.push_back(std::move(file));
  return Status();
}

Status Checkpoint::open_sharded(const std::filesystem::path& index) {
  listing_ = index;
  TUTTI_ASSIGN_OR_RETURN(const json::object root, read_json_object(index));
  const json::value* map = root.if_contains("weight_map");
  if (map == nullptr || !map->is_object()) {
    return invalid_argument("'" + index.string() + "' has no \"weight_map\" object.");
  }
  std::map<std::string, const SafetensorsFile*, std::less<>> by_name;
  for (const auto& [name, value] : map->get_object()) {
    if (!value.is_string()) {
      return invalid_argument("'" + index.string() + "' maps tensor '" + std::string(name) +
                              "' to " + json::serialize(value) + ", expected a file name.");
    }
    const std::string file_name(value.get_string());
    const SafetensorsFile*& file = by_name[file_name];
    if (file == nullptr) {
      // Shards lie beside their index; anything else would read files outside the model directory.
      if (file_name.empty() || std::filesystem::path(file_name).filename() != file_name) {
        return invalid_argument("'" + index.string() + "' maps tensor '" + std::string(name) +
                                "' to '" + file_name + "', expected the name of a file beside it.");
      }
      TUTTI_ASSIGN_OR_RETURN(auto opened, SafetensorsFile::open(index.parent_path() / file_name));
      file = opened.get();
      files_.push_back(std::move(opened));
    }
    const auto entry = file->entries().find(std::string_view(name));
    if (entry == file->entries().end()) {
      return invalid_argument("Tensor '" + std::string(name) + "' is missing from '" +
                              file->path().string() + "', where '" + index.string() +
                              "' expects it.");
    }
    tensors_[std::string(name)] = {file, &entry->second};
  }
  return Status();
}

}  // namespace tutti
