// SharedRing: memory that two processes map, through which message bodies travel in one direction.
// The sender writes a body once into a region; the receiver copies it out or keeps a view of it.
//
// It differs from a plain ring in one thing: a region that the receiver still holds is stepped
// over, so that one long-lived tensor does not hold up what comes behind it. Places are given
// lowest first, which keeps the memory in use small and in the caches. Thread: RingSender one at a
// time; RingReceiver::take() one at a time, its views anywhere. Invariants: the receiver trusts no
// place it is told; a region is the sender's until its message is sent and again when its state in
// the shared header says so. No lock is shared: either process may die at any instruction.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tutti/status.h"

#include "base/unique_fd.h"
#include "tensor/tensor.h"

namespace tutti {

// Where a body lies in the ring.
struct RingPlace {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint32_t slot = 0;
};

// A shared mapping of one ring's memory.
class RingMapping;

class RingSender {
 public:
  // New memory for `bytes` of bodies and the event that tells of freed regions.
  static Result<RingSender> create(size_t bytes);
  // What the other process made.
  static Result<RingSender> open(UniqueFd memory, UniqueFd freed);
  RingSender(RingSender&&) noexcept;
  RingSender& operator=(RingSender&&) noexcept;
  ~RingSender();

  enum class Refusal : uint8_t {
    kFull,  // it will be free when the receiver has read what was sent before
    kHeld,  // the receiver has read everything and keeps what is in the way
  };
  // A place of exactly `bytes`, or why there is none. After kFull, freed_event() becomes readable
  // when a second try may succeed.
  std::variant<RingPlace, Refusal> allocate(size_t bytes);
  std::byte* data(const RingPlace& place) const;
  // Takes a place back whose message was not sent.
  void cancel(const RingPlace& place);
  size_t capacity() const;
  size_t bytes_in_use() const;

  int memory_fd() const;
  int freed_event() const;
  // Makes freed_event() unreadable again.
  void clear_event() const;

 private:
  struct Region {
    uint64_t offset = 0;
    uint64_t bytes = 0;
    uint32_t slot = 0;
  };
  explicit RingSender(std::shared_ptr<RingMapping> mapping);
  std::optional<RingPlace> find(size_t bytes);
  bool any_unread() const;

  std::shared_ptr<RingMapping> mapping_;
  std::vector<Region> regions_;  // in use, by offset
  std::vector<uint32_t> free_slots_;
};

class RingReceiver {
 public:
  static Result<RingReceiver> create(size_t bytes);
  static Result<RingReceiver> open(UniqueFd memory, UniqueFd freed);

  // The body at `place`, which the other process named. Bodies of `view_min_bytes` and more stay in
  // the ring until the last handle is gone, as long as no more than half of it is held so; others
  // are copied.
  Result<std::shared_ptr<Storage>> take(const RingPlace& place, size_t view_min_bytes) const;
  size_t bytes_held() const;
  int memory_fd() const;
  int freed_event() const;

 private:
  explicit RingReceiver(std::shared_ptr<RingMapping> mapping) : mapping_(std::move(mapping)) {}
  std::shared_ptr<RingMapping> mapping_;
};

}  // namespace tutti
