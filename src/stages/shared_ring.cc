#include "stages/shared_ring.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tutti {
namespace {

constexpr uint32_t kSlots = 1024;
constexpr uint64_t kMagic = 0x676e697269747475;  // "uttiring"
constexpr size_t kAlignment = 64;

// Who may touch a slot's region.
enum SlotState : uint32_t { kFree = 0, kUnread = 1, kHeld = 2 };

size_t aligned(size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

Status system_error(const char* what) {
  return internal_error(
      fmt::format("Sharing memory with a worker process failed: {}: {}.", what, strerror(errno)));
}

}  // namespace

class RingMapping {
 public:
  struct Header {
    uint64_t magic = kMagic;
    uint64_t capacity = 0;
    std::atomic<uint32_t> wanted{0};  // the sender waits for a slot to change
    std::atomic<uint32_t> states[kSlots]{};
  };
  static_assert(std::atomic<uint32_t>::is_always_lock_free, "shared between processes");
  static constexpr size_t kHeaderBytes = (sizeof(Header) + 4095) / 4096 * 4096;

  static Result<std::shared_ptr<RingMapping>> create(size_t bytes) {
    const size_t capacity = aligned(std::max<size_t>(bytes, kAlignment));
    UniqueFd memory(memfd_create("tutti-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!memory) return system_error("memfd_create");
    if (ftruncate(memory.get(), static_cast<off_t>(kHeaderBytes + capacity)) != 0) {
      return system_error("ftruncate");
    }
    // A mapping of a file that shrinks is a trap.
    fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    UniqueFd freed(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!freed) return system_error("eventfd");
    void* at =
        mmap(nullptr, kHeaderBytes + capacity, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    if (at == MAP_FAILED) return system_error("mmap");
    auto* header = new (at) Header();
    header->capacity = capacity;
    return std::make_shared<RingMapping>(std::move(memory), std::move(freed), at, capacity);
  }

  static Result<std::shared_ptr<RingMapping>> open(UniqueFd memory, UniqueFd freed) {
    struct stat info = {};
    if (fstat(memory.get(), &info) != 0) return system_error("fstat");
    const auto size = static_cast<size_t>(info.st_size);
    if (size < kHeaderBytes + kAlignment) {
      return internal_error("The memory shared with a worker process is too small.");
    }
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    if (at == MAP_FAILED) return system_error("mmap");
    auto mapping =
        std::make_shared<RingMapping>(std::move(memory), std::move(freed), at, size - kHeaderBytes);
    const Header& header = mapping->header();
    if (header.magic != kMagic || header.capacity != size - kHeaderBytes) {
      return internal_error("The memory shared with a worker process is of another version.");
    }
    return mapping;
  }

  RingMapping(UniqueFd memory, UniqueFd freed, void* at, size_t capacity)
      : memory_(std::move(memory)),
        freed_(std::move(freed)),
        header_(static_cast<Header*>(at)),
        capacity_(capacity) {}
  ~RingMapping() { munmap(header_, kHeaderBytes + capacity_); }
  RingMapping(const RingMapping&) = delete;

  Header& header() const { return *header_; }
  size_t capacity() const { return capacity_; }
  std::byte* data(uint64_t offset) const {
    return reinterpret_cast<std::byte*>(header_) + kHeaderBytes + offset;
  }
  int memory_fd() const { return memory_.get(); }
  int freed_fd() const { return freed_.get(); }
  std::atomic<size_t>& held() { return held_; }

  // The receiver's side: a region changes hands.
  void set_state(uint32_t slot, SlotState state) const {
    header_->states[slot].store(state);
    if (header_->wanted.load() != 0 && header_->wanted.exchange(0) != 0) {
      eventfd_write(freed_.get(), 1);
    }
  }

 private:
  const UniqueFd memory_;
  const UniqueFd freed_;
  Header* const header_;
  const size_t capacity_;
  std::atomic<size_t> held_{0};  // by views, in this process
};

// --- sender

RingSender::RingSender(std::shared_ptr<RingMapping> mapping) : mapping_(std::move(mapping)) {
  for (uint32_t slot = kSlots; slot-- > 0;) free_slots_.push_back(slot);
}
RingSender::RingSender(RingSender&&) noexcept = default;
RingSender& RingSender::operator=(RingSender&&) noexcept = default;
RingSender::~RingSender() = default;

Result<RingSender> RingSender::create(size_t bytes) {
  TUTTI_ASSIGN_OR_RETURN(auto mapping, RingMapping::create(bytes));
  return RingSender(std::move(mapping));
}

Result<RingSender> RingSender::open(UniqueFd memory, UniqueFd freed) {
  TUTTI_ASSIGN_OR_RETURN(auto mapping, RingMapping::open(std::move(memory), std::move(freed)));
  return RingSender(std::move(mapping));
}

std::optional<RingPlace> RingSender::find(size_t bytes) {
  const auto& states = mapping_->header().states;
  std::erase_if(regions_, [&](const Region& region) {
    if (states[region.slot].load() != kFree) return false;
    free_slots_.push_back(region.slot);
    return true;
  });
  if (free_slots_.empty()) return std::nullopt;
  const size_t needed = aligned(std::max<size_t>(bytes, 1));
  uint64_t begin = 0;
  auto before = regions_.begin();
  while (before != regions_.end() && before->offset - begin < needed) {
    begin = before->offset + aligned(std::max<size_t>(before->bytes, 1));
    ++before;
  }
  if (before == regions_.end() && mapping_->capacity() - begin < needed) return std::nullopt;
  const RingPlace place{.offset = begin, .bytes = bytes, .slot = free_slots_.back()};
  free_slots_.pop_back();
  regions_.insert(before, {place.offset, place.bytes, place.slot});
  mapping_->header().states[place.slot].store(kUnread);
  return place;
}

bool RingSender::any_unread() const {
  const auto& states = mapping_->header().states;
  return std::any_of(regions_.begin(), regions_.end(),
                     [&](const Region& region) { return states[region.slot].load() == kUnread; });
}

std::variant<RingPlace, RingSender::Refusal> RingSender::allocate(size_t bytes) {
  if (aligned(bytes) > mapping_->capacity()) return Refusal::kHeld;
  if (auto place = find(bytes)) return *place;
  mapping_->header().wanted.store(1);
  // What changed before the receiver could see the wish.
  const bool unread = any_unread();
  if (auto place = find(bytes)) return *place;
  return unread ? Refusal::kFull : Refusal::kHeld;
}

std::byte* RingSender::data(const RingPlace& place) const { return mapping_->data(place.offset); }

void RingSender::cancel(const RingPlace& place) {
  mapping_->header().states[place.slot].store(kFree);
}

size_t RingSender::capacity() const { return mapping_->capacity(); }

size_t RingSender::bytes_in_use() const {
  size_t bytes = 0;
  for (const Region& region : regions_) {
    if (mapping_->header().states[region.slot].load() != kFree) bytes += region.bytes;
  }
  return bytes;
}

int RingSender::memory_fd() const { return mapping_->memory_fd(); }
int RingSender::freed_event() const { return mapping_->freed_fd(); }
void RingSender::clear_event() const {
  eventfd_t count = 0;
  eventfd_read(mapping_->freed_fd(), &count);
}

// --- receiver

Result<RingReceiver> RingReceiver::create(size_t bytes) {
  TUTTI_ASSIGN_OR_RETURN(auto mapping, RingMapping::create(bytes));
  return RingReceiver(std::move(mapping));
}

Result<RingReceiver> RingReceiver::open(UniqueFd memory, UniqueFd freed) {
  TUTTI_ASSIGN_OR_RETURN(auto mapping, RingMapping::open(std::move(memory), std::move(freed)));
  return RingReceiver(std::move(mapping));
}

Result<std::shared_ptr<Storage>> RingReceiver::take(const RingPlace& place,
                                                    size_t view_min_bytes) const {
  const size_t capacity = mapping_->capacity();
  if (place.slot >= kSlots || place.offset % kAlignment != 0 || place.offset > capacity ||
      place.bytes > capacity - place.offset) {
    return internal_error("A message between processes names a place outside the shared memory.");
  }
  std::byte* data = mapping_->data(place.offset);
  const auto bytes = static_cast<size_t>(place.bytes);
  if (bytes >= view_min_bytes && mapping_->held().load() + bytes <= capacity / 2) {
    mapping_->held() += bytes;
    mapping_->set_state(place.slot, kHeld);
    return std::make_shared<Storage>(data, bytes, Device{},
                                     [mapping = mapping_, slot = place.slot, bytes](void*) {
                                       mapping->held() -= bytes;
                                       mapping->set_state(slot, kFree);
                                     });
  }
  std::shared_ptr<Storage> copy = allocate_host(bytes);
  std::memcpy(copy->data(), data, bytes);
  mapping_->set_state(place.slot, kFree);
  return copy;
}

size_t RingReceiver::bytes_held() const { return mapping_->held().load(); }
int RingReceiver::memory_fd() const { return mapping_->memory_fd(); }
int RingReceiver::freed_event() const { return mapping_->freed_fd(); }

}  // namespace tutti
