// SafetensorsFile: a memory-mapped .safetensors file whose header has been checked in full.
//
// Thread: immutable after open(); any thread. Ownership: tensors share the mapping, so they stay
// valid when the file object is gone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "tutti/status.h"

#include "tensor/tensor.h"

namespace tutti {

struct SafetensorsEntry {
  DType dtype = DType::kF32;
  Shape shape;
  size_t begin = 0;  // byte offsets in the file
  size_t end = 0;
};

class SafetensorsFile {
 public:
  // Maps the file and checks header length, JSON, dtypes, shapes, offsets, overlaps and holes
  // before any use. An error names the file, and where it applies the tensor, what was expected and
  // found.
  static Result<std::shared_ptr<const SafetensorsFile>> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, SafetensorsEntry, std::less<>>& entries() const { return entries_; }
  // A view of the mapped bytes. The data may be misaligned for its dtype: see is_aligned().
  Tensor tensor(const SafetensorsEntry& entry) const;
  bool is_aligned(const SafetensorsEntry& entry) const;
  const std::byte* bytes(const SafetensorsEntry& entry) const;

 private:
  SafetensorsFile() = default;
  Status read_header();
  Status read_entry(std::string_view name, const void* json_value, size_t data_begin);
  Status check_layout(size_t data_begin) const;

  std::filesystem::path path_;
  std::shared_ptr<Storage> storage_;
  std::map<std::string, SafetensorsEntry, std::less<>> entries_;
};

// Maps a file read-only. Errors: missing, unreadable.
Result<std::shared_ptr<Storage>> map_file(const std::filesystem::path& path);

}  // namespace tutti
