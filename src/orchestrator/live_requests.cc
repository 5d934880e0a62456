#include "orchestrator/live_requests.h"

#include <utility>

#include "base/check.h"

namespace tutti {

void TurnQueue::when(uint64_t turn, std::function<void()> action) {
  {
    const std::lock_guard lock(mutex_);
    if (turn != next_) {
      waiting_.emplace(turn, std::move(action));
      return;
    }
  }
  action();
}

void TurnQueue::finish(uint64_t turn) {
  std::function<void()> action;
  {
    const std::lock_guard lock(mutex_);
    TUTTI_CHECK(turn == next_, "turns finish in their order");
    ++next_;
    const auto found = waiting_.find(next_);
    if (found == waiting_.end()) return;
    action = std::move(found->second);
    waiting_.erase(found);
  }
  action();
}

std::shared_ptr<LiveRequest> LiveRequests::insert(const std::string& request_id, RequestKey key) {
  const std::lock_guard lock(mutex_);
  auto& slot = requests_[request_id];
  if (slot) return nullptr;
  slot = std::make_shared<LiveRequest>();
  slot->key = key;
  return slot;
}

void LiveRequests::erase(const std::string& request_id) {
  const std::lock_guard lock(mutex_);
  requests_.erase(request_id);
}

std::shared_ptr<LiveRequest> LiveRequests::find(const std::string& request_id) const {
  const std::lock_guard lock(mutex_);
  const auto found = requests_.find(request_id);
  return found == requests_.end() ? nullptr : found->second;
}

std::vector<RequestKey> LiveRequests::to_abort(const std::vector<std::string>& request_ids) {
  std::vector<RequestKey> out;
  for (const std::string& id : request_ids) {
    const std::shared_ptr<LiveRequest> request = find(id);
    if (!request) continue;
    const std::lock_guard lock(request->mutex);
    request->abort_wanted = !request->enqueued;
    out.push_back(request->key);
  }
  return out;
}

void LiveRequests::emitted(const EngineMessage& message) {
  const std::string* id = ended_request(message);
  if (!id) return;
  const std::shared_ptr<LiveRequest> request = find(*id);
  if (!request) return;
  const std::lock_guard lock(request->mutex);
  request->ended = true;
}

void LiveRequests::seen(const EngineMessage& message) {
  if (const std::string* id = ended_request(message)) erase(*id);
}

size_t LiveRequests::size() const {
  const std::lock_guard lock(mutex_);
  return requests_.size();
}

const std::string* ended_request(const EngineMessage& message) {
  if (const auto* output = std::get_if<OutputMessage>(&message)) {
    return output->finished ? &output->request_id : nullptr;
  }
  const auto* error = std::get_if<ErrorMessage>(&message);
  return error && !error->request_id.empty() ? &error->request_id : nullptr;
}

}  // namespace tutti
