#include "apps/parity/frontend_media.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "media/frontend_check.h"
#include "weights/safetensors.h"

namespace tutti::parity {
namespace {

constexpr const char* kFiles[] = {"audio.safetensors", "image.safetensors"};

using Files = std::map<std::string, std::shared_ptr<const SafetensorsFile>>;

Result<Files> open_files(const std::filesystem::path& dir) {
  Files files;
  for (const char* name : kFiles) {
    TUTTI_ASSIGN_OR_RETURN(files[name], SafetensorsFile::open(dir / name));
  }
  return files;
}

// A copy: tensors in the file need not be aligned.
Result<Tensor> copy_tensor(const Files& files, const std::string& file, const std::string& name) {
  const auto& entries = files.at(file)->entries();
  const auto entry = entries.find(name);
  if (entry == entries.end()) return not_found(fmt::format("{} has no '{}'", file, name));
  Tensor out = Tensor::empty(entry->second.shape, entry->second.dtype);
  std::memcpy(out.raw_data(), files.at(file)->bytes(entry->second), out.bytes());
  return out;
}

void print(const MediaCheck& check) {
  std::string what = check.note;
  if (what.empty()) what = fmt::format("{} {:.3g}", check.measure, check.value);
  if (check.relative) what += fmt::format("  largest relative error {:.3g}", *check.relative);
  if (check.note.empty()) what += fmt::format("  (allowed {:.3g})", check.allowed);
  fmt::print("  {}  {:<50} {}\n", check.passed ? "pass" : "FAIL", check.name, what);
}

}  // namespace

bool check_frontend_media_files(const std::filesystem::path& dir) {
  const bool present = std::ranges::any_of(
      kFiles, [&](const char* name) { return std::filesystem::exists(dir / name); });
  if (!present) {
    fmt::print("  ----  no audio.safetensors, no image.safetensors: media not compared\n");
    return true;
  }
  const Result<Files> files = open_files(dir);
  if (!files.ok()) {
    fmt::print(stderr, "tutti-parity: {}\n", files.error().message());
    return false;
  }
  const auto report =
      check_frontend_media(dir.string(), [&](const std::string& file, const std::string& name) {
        return copy_tensor(*files, file, name);
      });
  if (!report.ok()) {
    fmt::print(stderr, "tutti-parity: {}\n", report.error().message());
    return false;
  }
  std::ranges::for_each(report->checks, print);
  for (const std::string& name : report->not_compared) {
    fmt::print("  ----  {:<50} not compared: no check knows it\n", name);
  }
  const auto failed = std::ranges::count(report->checks, false, &MediaCheck::passed);
  fmt::print("{} media tensors and tables passed, {} failed, {} not compared\n",
             static_cast<int64_t>(report->checks.size()) - failed, failed,
             report->not_compared.size());
  return failed == 0 && !report->checks.empty();
}

}  // namespace tutti::parity
