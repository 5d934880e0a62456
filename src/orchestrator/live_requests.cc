#include "orchestrator/live_requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tutti {
namespace {

constexpr double kRetryAfter_s = 1;

// The end of a stage's answer to a segment, after which the request goes on.
bool ends_answer(const EngineMessage& message) {
  const auto* output = std::get_if<OutputMessage>(&message);
  return output && !output->finished && output->output.finish_reason != FinishReason::kNone;
}

const std::string* answered_request(const EngineMessage& message) {
  return &std::get<OutputMessage>(message).request_id;
}

}  // namespace

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

void LiveRequest::sent(const RequestSegment& segment) {
  int64_t most = 0;
  for (const SamplingParams& params : segment.sampling_params) {
    most = std::max<int64_t>(most, params.max_tokens.value_or(0));
  }
  const bool answered = segment.sampling_params.front().max_tokens != 0;
  open_tokens.emplace_back(segments_sent++, answered ? most : 0);
}

int64_t LiveRequest::tokens_used() {
  const int32_t done = handle->segments_done.load();
  while (!open_tokens.empty() && open_tokens.front().first < done) open_tokens.pop_front();
  int64_t used = handle->tokens_done.load();
  for (const auto& [segment, tokens] : open_tokens) used += tokens;
  return used;
}

Result<std::shared_ptr<LiveRequest>> LiveRequests::insert(const std::string& request_id,
                                                          RequestKey key, bool resumable) {
  const std::lock_guard lock(mutex_);
  if (requests_.contains(request_id)) {
    return Status(StatusCode::kAlreadyExists,
                  fmt::format("A request with the id '{}' is still live.", request_id))
        .with_param("request_id");
  }
  if (unread_ >= limits_.unread) {
    return resource_exhausted(
               fmt::format("{} requests have ended and their outputs wait to be read; no more may.",
                           unread_))
        .with_retry_after(kRetryAfter_s);
  }
  if (resumable && sessions_ >= limits_.sessions) {
    return resource_exhausted(fmt::format("{} sessions are open; no more may be.", sessions_))
        .with_retry_after(kRetryAfter_s);
  }
  auto request = std::make_shared<LiveRequest>();
  request->key = key;
  request->session = resumable;
  sessions_ += resumable;
  requests_.emplace(request_id, request);
  return request;
}

void LiveRequests::erase(const std::string& request_id) {
  const std::lock_guard lock(mutex_);
  const auto found = requests_.find(request_id);
  if (found == requests_.end()) return;
  unread_ -= found->second->unread;
  sessions_ -= found->second->session;
  requests_.erase(found);
}

std::shared_ptr<LiveRequest> LiveRequests::find(const std::string& request_id) const {
  const std::lock_guard lock(mutex_);
  const auto found = requests_.find(request_id);
  return found == requests_.end() ? nullptr : found->second;
}

std::vector<RequestKey> LiveRequests::to_abort(
    const std::vector<std::string>& request_ids,
    const std::function<std::function<void(bool enqueued)>(RequestKey)>& later) {
  std::vector<RequestKey> out;
  for (const std::string& id : request_ids) {
    const std::shared_ptr<LiveRequest> request = find(id);
    if (!request) continue;
    const std::lock_guard lock(request->mutex);
    if (later && !request->enqueued && !request->ended) {
      request->aborts.push_back(later(request->key));
      continue;
    }
    request->abort_wanted |= !request->enqueued;
    out.push_back(request->key);
  }
  return out;
}

void LiveRequests::emitted(const EngineMessage& message) {
  const bool answer = ends_answer(message);
  const std::string* id = answer ? answered_request(message) : ended_request(message);
  if (!id) return;
  const std::shared_ptr<LiveRequest> request = find(*id);
  if (!request) return;
  {
    const std::lock_guard lock(request->mutex);
    request->unread_answers += answer;
    if (answer) return;
    request->ended = true;
  }
  const std::lock_guard lock(mutex_);
  unread_ += !std::exchange(request->unread, true);
}

void LiveRequests::seen(const EngineMessage& message) {
  if (const std::string* id = ended_request(message)) return erase(*id);
  if (!ends_answer(message)) return;
  const std::shared_ptr<LiveRequest> request = find(*answered_request(message));
  if (!request) return;
  const std::lock_guard lock(request->mutex);
  --request->unread_answers;
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
