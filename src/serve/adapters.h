// Adapters: the LoRA adapters that clients may ask for by `model`, as vLLM names them, and where
// clients may load further ones from.
//
// Thread: any; allow() before the first client.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/request.h"
#include "tutti/status.h"

namespace tutti::serve {

class Adapters {
 public:
  // Clients may load what lies below these directories, and nothing else.
  void allow(std::vector<std::string> directories) { directories_ = std::move(directories); }
  // The directory that `path` leads to; an error when clients may not load it. The same sentence
  // whether or not it exists: requests must not find out what lies elsewhere.
  Result<std::string> check_path(const std::string& path) const;
  void add(const std::string& name, const std::string& path) {
    const std::lock_guard lock(mutex_);
    paths_[name] = path;
  }
  void remove(const std::string& name) {
    const std::lock_guard lock(mutex_);
    paths_.erase(name);
  }
  std::optional<LoraRequest> find(std::string_view name) const {
    const std::lock_guard lock(mutex_);
    const auto found = paths_.find(name);
    if (found == paths_.end()) return std::nullopt;
    return LoraRequest{.lora_name = found->first, .lora_path = found->second};
  }
  std::vector<LoraRequest> all() const {
    const std::lock_guard lock(mutex_);
    std::vector<LoraRequest> out;
    for (const auto& [name, path] : paths_) out.push_back({.lora_name = name, .lora_path = path});
    return out;
  }

 private:
  std::vector<std::string> directories_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string, std::less<>> paths_;  // by name; guarded by mutex_
};

}  // namespace tutti::serve
