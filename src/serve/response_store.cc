#include "serve/response_store.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "serve/api_error.h"
#include "serve/api_key.h"

namespace tutti::serve {
namespace {

size_t bytes_of(const StoredResponse& response) {
  size_t bytes = sizeof(response) + response.body.size();
  for (const ChatMessage& message : response.messages) {
    bytes += sizeof(message) + message.role.size() + message.extra_json.size();
    for (const ContentPart& part : message.content) {
      bytes += sizeof(part) + part.text.size();
      if (!part.media) continue;
      bytes += part.media->path_or_url.size();
      if (part.media->bytes) bytes += part.media->bytes->size();
    }
  }
  return bytes;
}

}  // namespace

void ResponseStore::put(const std::string& id, const std::string& owner, StoredResponse response) {
  Entry entry{id, owner, bytes_of(response), nullptr};
  if (entry.bytes <= most_bytes_) {
    entry.response = std::make_shared<const StoredResponse>(std::move(response));
  }
  const std::lock_guard lock(mutex_);
  if (entry.response) bytes_ += entry.bytes;
  by_id_[id] = entries_.insert(entries_.end(), std::move(entry));
  while (bytes_ > most_bytes_ || entries_.size() > kMostResponses) remove(entries_.begin());
}

Result<ResponseStore::Entries::const_iterator> ResponseStore::find(const std::string& id,
                                                                   const std::string& owner) const {
  const auto found = by_id_.find(id);
  // Somebody else's is as unknown as one that never was.
  if (found == by_id_.end() || !equal_in_constant_time(found->second->owner, owner)) {
    return not_found(
        fmt::format("There is no response '{}'; the latest {} are kept, as far as they have {} "
                    "together.",
                    printable(id), kMostResponses, human_bytes(static_cast<double>(most_bytes_))));
  }
  if (!found->second->response) {
    return not_found(
        fmt::format("The response '{}' was too large to be kept: with its conversation it has {}, "
                    "and {} are the most.",
                    printable(id), human_bytes(static_cast<double>(found->second->bytes)),
                    human_bytes(static_cast<double>(most_bytes_))));
  }
  return found->second;
}

Result<std::shared_ptr<const StoredResponse>> ResponseStore::get(const std::string& id,
                                                                 const std::string& owner) const {
  const std::lock_guard lock(mutex_);
  TUTTI_ASSIGN_OR_RETURN(const auto entry, find(id, owner));
  return entry->response;
}

Status ResponseStore::erase(const std::string& id, const std::string& owner) {
  const std::lock_guard lock(mutex_);
  TUTTI_ASSIGN_OR_RETURN(const auto entry, find(id, owner));
  remove(entry);
  return {};
}

void ResponseStore::remove(Entries::const_iterator entry) {
  if (entry->response) bytes_ -= entry->bytes;
  by_id_.erase(entry->id);
  entries_.erase(entry);
}

}  // namespace tutti::serve
