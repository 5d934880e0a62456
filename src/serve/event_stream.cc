#include "serve/event_stream.h"

#include <fmt/format.h>

#include <charconv>

#include "base/thread.h"
#include "serve/api_error.h"
#include "serve/api_key.h"

namespace tutti::serve {

EventStream::EventStream(std::string id, HttpReplyPtr reply, StreamRegistry* registry,
                         std::function<void()> abandoned, std::string owner)
    : id_(std::move(id)),
      registry_(registry),
      owner_(std::move(owner)),
      reply_(std::move(reply)),
      abandoned_(std::move(abandoned)) {}

std::shared_ptr<EventStream> EventStream::create(std::string id, HttpReplyPtr reply,
                                                 StreamRegistry* registry,
                                                 std::function<void()> abandoned,
                                                 std::string owner) {
  std::shared_ptr<EventStream> stream(
      new EventStream(std::move(id), reply, registry, std::move(abandoned), std::move(owner)));
  if (registry) registry->add(stream);
  stream->watch(reply);
  return stream;
}

void EventStream::watch(const HttpReplyPtr& reply) {
  reply->on_disconnect([weak = weak_from_this(), raw = reply.get()] {
    if (auto self = weak.lock()) self->disconnected(raw);
  });
}

void EventStream::disconnected(const HttpReply* reply) {
  {
    const std::lock_guard lock(mutex_);
    if (reply_.get() != reply) return;  // the client has come back on another connection
    reply_ = nullptr;
  }
  if (registry_) {
    registry_->expire(id_);
  } else {
    abandon();
  }
}

void EventStream::abandon() {
  std::function<void()> abandoned;
  {
    const std::lock_guard lock(mutex_);
    if (!ended_) abandoned = std::exchange(abandoned_, nullptr);
  }
  if (abandoned) abandoned();
}

bool EventStream::has_begun() {
  const std::lock_guard lock(mutex_);
  return begun_;
}

bool EventStream::has_ended() {
  const std::lock_guard lock(mutex_);
  return ended_;
}

bool EventStream::is_alone() {
  const std::lock_guard lock(mutex_);
  return reply_ == nullptr;
}

void EventStream::begin_locked() {
  if (std::exchange(begun_, true) || !reply_) return;
  reply_->begin({.status = 200,
                 .content_type = "text/event-stream; charset=utf-8",
                 .body = "",
                 .headers = {{"Cache-Control", "no-cache"}, {"X-Request-Id", id_}}});
}

void EventStream::send_locked(std::string_view data, std::string_view name) {
  begin_locked();
  std::string bytes;
  bytes.reserve(data.size() + 64);
  if (registry_) fmt::format_to(std::back_inserter(bytes), "id: {}:{}\n", id_, next_event_);
  if (!name.empty()) bytes.append("event: ").append(name).append("\n");
  bytes.append("data: ").append(data).append("\n\n");
  if (reply_) reply_->write(bytes);
  if (!registry_) return;
  kept_bytes_ += bytes.size();
  kept_.push_back({next_event_++, std::move(bytes)});
  while (kept_bytes_ > kMostKeptBytes) {
    kept_bytes_ -= kept_.front().bytes.size();
    kept_.pop_front();
  }
}

void EventStream::send(std::string_view data, std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (!ended_) send_locked(data, name);
}

void EventStream::fail(const Status& error) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    if (!begun_) {
      ended_ = true;
      if (reply_) reply_->send(error_response(error));
    } else {
      send_locked(error_body(error), "error");
    }
  }
  end();
}

void EventStream::end() {
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = nullptr;
    if (!std::exchange(ended_, true) && reply_) reply_->end();
  }
  if (registry_) registry_->expire(id_);
}

Status EventStream::resume(int64_t after, HttpReplyPtr reply) {
  {
    const std::lock_guard lock(mutex_);
    const int64_t first = kept_.empty() ? next_event_ : kept_.front().number;
    if (after >= next_event_) {
      return invalid_argument(fmt::format(
          "The stream '{}' has no event {} yet; its last one is {}.", id_, after, next_event_ - 1));
    }
    if (after + 1 < first) {
      return not_found(
          fmt::format("The events after {} of '{}' are no longer kept; the first one "
                      "that is has the number {}.",
                      after, id_, first));
    }
    if (reply_) reply_->break_off();  // the old connection has not noticed yet
    reply_ = reply;
    begun_ = false;
    begin_locked();
    for (const Kept& event : kept_) {
      if (event.number > after) reply_->write(event.bytes);
    }
    if (ended_) reply_->end();
  }
  watch(reply);
  return {};
}

// --- registry

StreamRegistry::StreamRegistry(std::chrono::milliseconds grace)
    : grace_(grace), thread_([this](const std::stop_token& stop) { sweep(stop); }) {}

StreamRegistry::~StreamRegistry() = default;

void StreamRegistry::add(std::shared_ptr<EventStream> stream) {
  const std::lock_guard lock(mutex_);
  const std::string id = stream->id_;
  streams_[id].stream = std::move(stream);
}

void StreamRegistry::expire(const std::string& id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = streams_.find(id); found != streams_.end()) {
    found->second.expires = Clock::now() + grace_;
    changed_since_ = true;
    changed_.notify_all();
  }
}

void StreamRegistry::keep(const std::string& id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = streams_.find(id); found != streams_.end()) {
    found->second.expires = Clock::time_point::max();
  }
}

Status StreamRegistry::resume(const std::string& last_event_id, const std::string& owner,
                              HttpReplyPtr reply) {
  const size_t colon = last_event_id.rfind(':');
  const std::string id = last_event_id.substr(0, colon);
  int64_t after = -1;
  if (colon != std::string::npos) {
    const char* end = last_event_id.data() + last_event_id.size();
    if (std::from_chars(last_event_id.data() + colon + 1, end, after).ptr != end) after = -1;
  }
  if (after < 0) {
    return invalid_argument(fmt::format("Last-Event-ID is '{}'; it must be the id of an event of a "
                                        "resumable stream.",
                                        printable(last_event_id)))
        .with_param("Last-Event-ID");
  }
  std::shared_ptr<EventStream> stream;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = streams_.find(id); found != streams_.end())
      stream = found->second.stream;
  }
  // Somebody else's is as unknown as one that never was.
  if (!stream || !equal_in_constant_time(stream->owner_, owner)) {
    return not_found(
               fmt::format("There is no stream '{}', or it has been let go of.", printable(id)))
        .with_param("Last-Event-ID");
  }
  keep(id);
  if (Status status = stream->resume(after, std::move(reply)); !status.ok()) {
    if (stream->is_alone() || stream->has_ended()) expire(id);
    return std::move(status).with_param("Last-Event-ID");
  }
  if (stream->has_ended()) expire(id);
  return {};
}

void StreamRegistry::sweep(const std::stop_token& stop) {
  set_thread_name("streams");
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    Clock::time_point next = Clock::now() + std::chrono::hours(1);
    for (const auto& [id, entry] : streams_) next = std::min(next, entry.expires);
    changed_.wait_until(lock, stop, next, [this] { return std::exchange(changed_since_, false); });
    std::vector<std::shared_ptr<EventStream>> over;
    for (auto it = streams_.begin(); it != streams_.end();) {
      if (it->second.expires <= Clock::now()) {
        over.push_back(std::move(it->second.stream));
        it = streams_.erase(it);
      } else {
        ++it;
      }
    }
    lock.unlock();
    for (const auto& stream : over) stream->abandon();
    lock.lock();
  }
}

}  // namespace tutti::serve
