// LoraRegistry: which adapters requests may name, and where they lie.
//
// Thread: any; loading one adapter holds up other loads, not requests of known ones.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "tutti/output.h"
#include "tutti/request.h"

namespace tutti {

class LoraRegistry {
 public:
  // A control method on all replicas, blocking.
  using Rpc = std::function<Result<std::vector<RpcResult>>(const std::string& method,
                                                           const std::string& kwargs_json)>;

  explicit LoraRegistry(Rpc rpc) : rpc_(std::move(rpc)) {}

  // Makes sure that the adapter is known and loaded, and fills in its path. Errors: an unknown name
  // without a path (lists the known ones), a known name with another path, an adapter that some
  // stage refuses (wrong rank, target or shape), or that no stage has weights for.
  Status resolve(LoraRequest& request);
  // What callers do themselves, by collective_rpc.
  void called(const std::string& method, const std::string& arguments_json,
              const std::vector<RpcResult>& results);

 private:
  Status load(const LoraRequest& request);

  const Rpc rpc_;
  std::mutex loading_;
  std::mutex mutex_;
  std::map<std::string, std::string> paths_;  // by name; guarded by mutex_
};

}  // namespace tutti
