// Checkpoint: all tensors of a Hugging Face directory, from model.safetensors or from the shards
// that model.safetensors.index.json lists.
//
// Thread: immutable after open(); any thread. Nothing is read but the headers.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "weights/safetensors.h"

namespace tutti {

struct CheckpointTensor {
  const SafetensorsFile* file = nullptr;
  const SafetensorsEntry* entry = nullptr;
};

class Checkpoint {
 public:
  // Errors name the index or file, the tensor, what was expected and what was found.
  static Result<std::shared_ptr<const Checkpoint>> open(const std::filesystem::path& dir);

  const std::filesystem::path& dir() const { return dir_; }
  const std::map<std::string, CheckpointTensor, std::less<>>& tensors() const { return tensors_; }
  // Null when there is no such tensor.
  const CheckpointTensor* find(std::string_view name) const;
  // "model.safetensors" or "model.safetensors.index.json": what a missing tensor is missing from.
  const std::filesystem::path& listing() const { return listing_; }

 private:
  Status open_single(const std::filesystem::path& path);
  Status open_sharded(const std::filesystem::path& index);

  std::filesystem::path dir_;
  std::filesystem::path listing_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::map<std::string, CheckpointTensor, std::less<>> tensors_;
};

}  // namespace tutti
