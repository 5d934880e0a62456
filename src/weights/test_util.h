// Writes small safetensors files for tests.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace tutti::testing {

// A folder that lives as long as the object.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tutti_XXXXXX").string();
    TUTTI_CHECK(::mkdtemp(name.data()) != nullptr, "a test needs a temporary folder");
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

// Header and data as one file's bytes.
inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// Padded so that the data is aligned, as the format's own writer does.
inline std::string safetensors_bytes(const NamedTensors& tensors) {
  std::string header = "{";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    if (header.size() > 1) header += ",";
    std::string shape;
    for (int64_t d : tensor.shape().dims()) shape += (shape.empty() ? "" : ",") + std::to_string(d);
    header += "\"" + name + "\":{\"dtype\":\"" + std::string(dtype_name(tensor.dtype())) +
              "\",\"shape\":[" + shape + "],\"data_offsets\":[" + std::to_string(data.size()) +
              "," + std::to_string(data.size() + tensor.bytes()) + "]}";
    data.append(static_cast<const char*>(tensor.raw_data()), tensor.bytes());
  }
  header += "}";
  while (header.size() % 8 != 0) header += " ";
  return safetensors_bytes(header, data);
}

}  // namespace tutti::testing
