// DualQueue<T>: a bounded, closable queue with two sides: blocking or polled for any thread, and
// callbacks for event loops. Everybody is woken by events, nobody polls.
//
// Thread: every method from any thread; on_ready() and on_room() before the first use.
// Invariants: first in, first out; never more than capacity() elements, except by force_push();
// after close() nothing gets in and what is inside can still be taken. Owns its elements.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/notifier.h"

namespace tutti {

enum class QueueResult { kOk, kFull, kClosed };

template <typename T>
class DualQueue {
 public:
  explicit DualQueue(size_t capacity) : capacity_(std::max<size_t>(capacity, 1)) {}
  DualQueue(const DualQueue&) = delete;
  DualQueue& operator=(const DualQueue&) = delete;

  // The event loop's side. `ready` is called, by the pushing or closing thread and without a lock,
  // when an empty queue gets an element or is closed: drain it then. `room` is called, by the
  // popping thread, when elements were taken after a try_push() had been refused.
  void on_ready(std::function<void()> ready) { ready_ = std::move(ready); }
  void on_room(std::function<void()> room) { room_ = std::move(room); }

  // `value` is moved from only when the result is kOk.
  QueueResult try_push(T&& value) { return push_impl(std::move(value), /*announce_room=*/true); }

  // Waits for room until the deadline; kFull when there was none.
  QueueResult push(T&& value, Deadline deadline) {
    for (;;) {
      const uint64_t key = not_full_.prepare();
      const QueueResult result = push_impl(std::move(value), /*announce_room=*/false);
      if (result != QueueResult::kFull) return result;
      if (!not_full_.wait(key, deadline)) return push_impl(std::move(value), false);
    }
  }

  // For the few elements that must not be lost at the end (terminal messages at shutdown): ignores
  // the capacity. False when closed.
  bool force_push(T&& value) {
    bool announce = false;
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return false;
      announce = announces();
      insert(std::move(value));
    }
    announce_ready(announce);
    return true;
  }

  std::optional<T> try_pop() {
    std::optional<T> out;
    bool room = false;
    {
      const std::lock_guard lock(mutex_);
      if (items_.empty()) return out;
      out.emplace(std::move(items_.front()));
      items_.pop_front();
      room = std::exchange(push_refused_, false);
    }
    announce_room(room);
    return out;
  }

  // None when the deadline passed, or when the queue is closed and empty (drained()).
  std::optional<T> pop(Deadline deadline, Duration spin = {}) {
    for (;;) {
      const uint64_t key = not_empty_.prepare();
      if (std::optional<T> out = try_pop()) return out;
      if (drained()) return std::nullopt;
      if (!not_empty_.wait(key, deadline, spin)) return try_pop();
    }
  }

  // Appends everything that is there to `out`, under one lock; returns how many.
  size_t try_pop_all(std::vector<T>& out) {
    size_t count = 0;
    bool room = false;
    {
      const std::lock_guard lock(mutex_);
      count = items_.size();
      for (T& item : items_) out.push_back(std::move(item));
      items_.clear();
      if (count > 0) room = std::exchange(push_refused_, false);
    }
    if (count > 0) announce_room(room);
    return count;
  }

  // Waits until there is something, then takes all of it. 0: deadline, or closed and empty.
  size_t pop_all(std::vector<T>& out, Deadline deadline, Duration spin = {}) {
    for (;;) {
      const uint64_t key = not_empty_.prepare();
      if (const size_t count = try_pop_all(out)) return count;
      if (drained()) return 0;
      if (!not_empty_.wait(key, deadline, spin)) return try_pop_all(out);
    }
  }

  // Takes the first element that `matches`, wherever it stands.
  template <typename Predicate>
  std::optional<T> extract_if(Predicate matches) {
    std::optional<T> out;
    bool room = false;
    {
      const std::lock_guard lock(mutex_);
      const auto found = std::find_if(items_.begin(), items_.end(), matches);
      if (found == items_.end()) return out;
      out.emplace(std::move(*found));
      items_.erase(found);
      room = std::exchange(push_refused_, false);
    }
    announce_room(room);
    return out;
  }

  // Takes the least element, of equal ones the first.
  template <typename Less>
  std::optional<T> try_pop_best(Less less) {
    std::optional<T> out;
    bool room = false;
    {
      const std::lock_guard lock(mutex_);
      if (items_.empty()) return out;
      const auto best = std::min_element(items_.begin(), items_.end(), less);
      out.emplace(std::move(*best));
      items_.erase(best);
      room = std::exchange(push_refused_, false);
    }
    announce_room(room);
    return out;
  }

  // Shows every element to `look`, under the lock, and arranges that `ready` is called for the next
  // element too, although the queue may not be empty then. For a loop that leaves elements inside.
  template <typename Look>
  void watch(Look look) {
    const std::lock_guard lock(mutex_);
    for (const T& item : items_) look(item);
    announce_next_ = true;
  }

  void close() {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(closed_, true)) return;
    }
    not_full_.notify();
    announce_ready(true);
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  // Closed, and everything has been taken.
  bool drained() const {
    const std::lock_guard lock(mutex_);
    return closed_ && items_.empty();
  }
  size_t size() const {
    const std::lock_guard lock(mutex_);
    return items_.size();
  }
  size_t capacity() const { return capacity_; }
  // The most elements that were inside at once.
  size_t high_water() const {
    const std::lock_guard lock(mutex_);
    return high_water_;
  }

 private:
  QueueResult push_impl(T&& value, bool announce_room) {
    bool announce = false;
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return QueueResult::kClosed;
      if (items_.size() >= capacity_) {
        push_refused_ |= announce_room;
        return QueueResult::kFull;
      }
      announce = announces();
      insert(std::move(value));
    }
    announce_ready(announce);
    return QueueResult::kOk;
  }

  void insert(T&& value) {
    items_.push_back(std::move(value));
    high_water_ = std::max(high_water_, items_.size());
  }

  bool announces() { return std::exchange(announce_next_, false) || items_.empty(); }

  void announce_ready(bool announce) {
    not_empty_.notify();
    if (announce && ready_) ready_();
  }

  void announce_room(bool push_was_refused) {
    not_full_.notify();
    if (push_was_refused && room_) room_();
  }

  const size_t capacity_;
  std::function<void()> ready_;
  std::function<void()> room_;
  Notifier not_empty_;
  Notifier not_full_;
  mutable std::mutex mutex_;
  std::deque<T> items_;  // guarded by mutex_, as all below
  size_t high_water_ = 0;
  bool closed_ = false;
  bool push_refused_ = false;   // by try_push(), since the last pop
  bool announce_next_ = false;  // by watch()
};

}  // namespace tutti
