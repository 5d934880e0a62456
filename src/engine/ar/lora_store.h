// LoraStore: the adapters of one replica, by name; bounded.
//
// Thread: the stage's replica thread. Owns the adapters, with the sequences that run through them:
// a removed or replaced one lives until its last sequence ends, and takes its place until then.
// Invariants: at most max_loras adapters are in memory; pinned ones and those in use stay.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tutti/status.h"

#include "weights/lora.h"

namespace tutti::ar {

class LoraStore {
 public:
  // `targets` outlive the store.
  LoraStore(const LoraTargets& targets, int32_t max_loras, int32_t max_rank);

  // Reads the adapter in `path` unless it is known by this name; the name with another path is an
  // error. When all places are taken the one that has not been used for longest goes; when all are
  // pinned or in use that is an error.
  Status add(const std::string& name, const std::string& path);
  // The name is free at once.
  Status remove(const std::string& name);
  // Never to be replaced by another; remove() still removes it.
  Status pin(const std::string& name);
  // What a request's rows go through. An unknown name is added when a path is given.
  Result<std::shared_ptr<const LoraAdapter>> use(const std::string& name, const std::string& path);

  // add_lora, remove_lora, pin_lora: {"lora_name": ..., "lora_path": ...} -> true; list_loras: the
  // adapters in the order of their last use. None: another method.
  std::optional<Result<std::string>> control(const std::string& method,
                                             const std::string& args_json);

 private:
  struct Entry {
    std::string name;
    std::string path;
    std::shared_ptr<const LoraAdapter> adapter;
    bool pinned = false;

    bool in_use() const { return adapter.use_count() > 1; }
  };
  Entry* find(const std::string& name);
  Status unknown(const std::string& name) const;
  Status make_room();
  size_t num_retired();
  std::string list() const;

  const LoraTargets& targets_;
  const size_t max_loras_;
  const int32_t max_rank_;
  std::vector<Entry> entries_;                             // the one used last stands last
  std::vector<std::weak_ptr<const LoraAdapter>> retired_;  // removed, still in use
};

}  // namespace tutti::ar
