// LiveRequests: the ids whose terminal message has not been handed to the caller yet.
//
// Thread: any.
#pragma once

#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "tutti/output.h"

#include "base/ids.h"

namespace tutti {

class LiveRequests {
 public:
  // False when the id is live.
  bool insert(const std::string& request_id, RequestKey key) {
    const std::lock_guard lock(mutex_);
    return keys_.emplace(request_id, key).second;
  }
  void erase(const std::string& request_id) {
    const std::lock_guard lock(mutex_);
    keys_.erase(request_id);
  }
  // Of those that are live.
  std::vector<RequestKey> keys(const std::vector<std::string>& request_ids) const {
    const std::lock_guard lock(mutex_);
    std::vector<RequestKey> out;
    for (const std::string& id : request_ids) {
      if (const auto found = keys_.find(id); found != keys_.end()) out.push_back(found->second);
    }
    return out;
  }
  // The caller has seen `message`: after a terminal one the id is free again.
  void seen(const EngineMessage& message) {
    if (const auto* output = std::get_if<OutputMessage>(&message)) {
      if (output->finished) erase(output->request_id);
    } else if (const auto* error = std::get_if<ErrorMessage>(&message)) {
      erase(error->request_id);
    }
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, RequestKey> keys_;
};

}  // namespace tutti
