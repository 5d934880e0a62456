// EventStream: server-sent events to one client. A resumable stream numbers its events and keeps
// the latest, so that a client that lost its connection goes on with Last-Event-ID.
//
// Thread: any. Invariants: the answer's head goes out with the first event, so that an error before
// it still gets its own status; kept events are bounded in bytes.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "tutti/status.h"

#include "serve/http.h"

namespace tutti::serve {

class StreamRegistry;

class EventStream : public std::enable_shared_from_this<EventStream> {
 public:
  static constexpr size_t kMostKeptBytes = 4 << 20;

  // `abandoned` is called once when nobody will read on: the client has gone, and for a resumable
  // stream has not come back in time. `owner`: the API key that may go on with a resumable stream.
  static std::shared_ptr<EventStream> create(std::string id, HttpReplyPtr reply,
                                             StreamRegistry* registry,
                                             std::function<void()> abandoned,
                                             std::string owner = {});
  // One event; `name` empty for unnamed ones.
  void send(std::string_view data, std::string_view name = {});
  // Before the first event: the answer is this error instead. Else an event with the error.
  void fail(const Status& error);
  void end();
  bool has_begun();
  bool has_ended();
  bool is_alone();  // no client reads it

 private:
  friend class StreamRegistry;
  EventStream(std::string id, HttpReplyPtr reply, StreamRegistry* registry,
              std::function<void()> abandoned, std::string owner);
  void watch(const HttpReplyPtr& reply);
  void disconnected(const HttpReply* reply);
  void abandon();
  Status resume(int64_t after, HttpReplyPtr reply);
  void begin_locked();
  void send_locked(std::string_view data, std::string_view name);

  const std::string id_;
  StreamRegistry* const registry_;  // null: not resumable
  const std::string owner_;
  std::mutex mutex_;
  HttpReplyPtr reply_;  // null while the client is away
  std::function<void()> abandoned_;
  bool begun_ = false;
  bool ended_ = false;
  int64_t next_event_ = 1;
  struct Kept {
    int64_t number;
    std::string bytes;
  };
  std::deque<Kept> kept_;
  size_t kept_bytes_ = 0;
};

// The resumable streams that live or have just ended.
class StreamRegistry {
 public:
  // `grace`: how long a stream without a client, or one that has ended, is kept.
  explicit StreamRegistry(std::chrono::milliseconds grace = std::chrono::seconds(30));
  ~StreamRegistry();
  // Goes on with the stream that `last_event_id` ("chatcmpl-...:17") names. Errors: the id is none,
  // `owner` has no such stream, the events after it are no longer kept or not there yet.
  Status resume(const std::string& last_event_id, const std::string& owner, HttpReplyPtr reply);

 private:
  friend class EventStream;
  using Clock = std::chrono::steady_clock;
  void add(std::shared_ptr<EventStream> stream);
  // The stream has ended or lost its client; it is let go of after a while, unless it comes back.
  void expire(const std::string& id);
  void keep(const std::string& id);
  void sweep(const std::stop_token& stop);

  struct Entry {
    std::shared_ptr<EventStream> stream;
    Clock::time_point expires = Clock::time_point::max();
  };
  const std::chrono::milliseconds grace_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool changed_since_ = false;  // since the sweeper looked
  std::unordered_map<std::string, Entry> streams_;
  std::jthread thread_;
};

}  // namespace tutti::serve
