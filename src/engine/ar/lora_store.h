// LoraStore: the adapters of one replica, by name; bounded.
//
// A request names its adapter by name and path, as they were when it was accepted, and runs through
// that one in every stage: whatever the name means by then, and without taking it over.
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

  // Reads the adapter in `path` unless it was added by this name; the name with another path is an
  // error. When all places are taken the one that has not been used for longest goes; when all are
  // pinned or in use that is an error.
  Status add(const std::string& name, const std::string& path);
  // The name is free at once.
  Status remove(const std::string& name);
  // Never to be replaced by another; remove() still removes it.
  Status pin(const std::string& name);
  // What a request's rows go through: the adapter of that name and path (empty: any), read when it
  // is not there. Under a free name it stays, until add() or another one needs the place.
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
    bool added = false;  // by add(); else read for requests that still name it
    bool pinned = false;

    bool in_use() const { return adapter.use_count() > 1; }
  };
  // Not the present owner of its name; lives as long as sequences use it.
  struct Retired {
    std::string name;
    std::string path;
    std::weak_ptr<const LoraAdapter> adapter;
  };
  Entry* find(const std::string& name);
  // Takes the last entry out.
  void retire_last();
  Status unknown(const std::string& name) const;
  Status make_room();
  size_t num_retired();
  std::string list() const;

  const LoraTargets& targets_;
  const size_t max_loras_;
  const int32_t max_rank_;
  std::vector<Entry> entries_;  // the one used last stands last
  std::vector<Retired> retired_;
};

}  // namespace tutti::ar
