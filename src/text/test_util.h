// What several tests of this folder share.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace tutti::text {

inline std::filesystem::path golden_dir() {
  return std::filesystem::path(TUTTI_TEST_DATA) / "goldens";
}

// A directory of its own for one test, removed at its end.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "tutti_text_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(std::string_view name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  void copy(const std::filesystem::path& file) const {
    std::filesystem::copy_file(file, path_ / file.filename());
  }

 private:
  std::filesystem::path path_;
};

}  // namespace tutti::text
