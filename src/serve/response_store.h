// ResponseStore: answered responses, for `previous_response_id` and GET /v1/responses/{id}.
//
// Thread: any. Invariants: kept in memory, bounded in number and bytes, the oldest go first; who
// has another API key finds nothing.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "tutti/request.h"
#include "tutti/status.h"

namespace tutti::serve {

struct StoredResponse {
  std::vector<ChatMessage> messages;  // the whole conversation, answer included
  std::string body;                   // the response object
};

class ResponseStore {
 public:
  static constexpr size_t kMostResponses = 256;
  // Four bodies of the size that the server takes by default: a conversation with pictures or clips
  // is kept whole with every turn.
  static constexpr size_t kMostBytes = 256 << 20;

  explicit ResponseStore(size_t most_bytes = kMostBytes) : most_bytes_(most_bytes) {}
  // `owner`: the API key that made it, and that alone can have it. Of one that is larger than the
  // store nothing is kept but that it was.
  void put(const std::string& id, const std::string& owner, StoredResponse response);
  // Errors: kNotFound, with the reason where it is known.
  Result<std::shared_ptr<const StoredResponse>> get(const std::string& id,
                                                    const std::string& owner) const;
  Status erase(const std::string& id, const std::string& owner);

 private:
  struct Entry {
    std::string id;
    std::string owner;
    size_t bytes;
    std::shared_ptr<const StoredResponse> response;  // null: it was too large
  };
  using Entries = std::list<Entry>;
  Result<Entries::const_iterator> find(const std::string& id, const std::string& owner) const;
  void remove(Entries::const_iterator entry);

  const size_t most_bytes_;
  mutable std::mutex mutex_;
  Entries entries_;  // the oldest first
  std::unordered_map<std::string, Entries::const_iterator> by_id_;
  size_t bytes_ = 0;  // of those that are kept
};

}  // namespace tutti::serve
