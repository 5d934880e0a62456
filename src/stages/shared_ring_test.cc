#include "stages/shared_ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <cstring>

namespace tutti {
namespace {

UniqueFd copy_of(int fd) { return UniqueFd(dup(fd)); }

// Both ends in one process, over two mappings.
struct Ends {
  RingSender sender;
  RingReceiver receiver;
};
Ends ring(size_t bytes) {
  RingSender sender = RingSender::create(bytes).value();
  RingReceiver receiver =
      RingReceiver::open(copy_of(sender.memory_fd()), copy_of(sender.freed_event())).value();
  return {std::move(sender), std::move(receiver)};
}
RingPlace put(RingSender& sender, size_t bytes, char fill) {
  const RingPlace place = std::get<RingPlace>(sender.allocate(bytes));
  std::memset(sender.data(place), fill, bytes);
  return place;
}
bool readable(int fd) {
  pollfd event = {fd, POLLIN, 0};
  return poll(&event, 1, 0) == 1;
}

constexpr size_t kCopy = SIZE_MAX;  // as view_min_bytes

TEST(SharedRing, BodiesComeOutAsTheyWentIn) {
  auto [sender, receiver] = ring(4096);
  const RingPlace a = put(sender, 1000, 'a'), b = put(sender, 500, 'b');
  const auto body_a = receiver.take(a, kCopy).value();
  EXPECT_EQ(body_a->bytes(), 1000u);
  EXPECT_EQ(static_cast<char>(body_a->data()[999]), 'a');
  EXPECT_EQ(static_cast<char>(receiver.take(b, kCopy).value()->data()[0]), 'b');
  EXPECT_EQ(sender.bytes_in_use(), 0u);
}

TEST(SharedRing, AFullRingRefusesAndTellsWhenItMayHaveRoom) {
  auto [sender, receiver] = ring(4096);
  std::vector<RingPlace> places;
  for (int i = 0; i < 4; ++i) places.push_back(put(sender, 1024, 'x'));
  EXPECT_EQ(std::get<RingSender::Refusal>(sender.allocate(1)), RingSender::Refusal::kFull);
  EXPECT_FALSE(readable(sender.freed_event()));
  ASSERT_TRUE(receiver.take(places[2], kCopy).ok());
  EXPECT_TRUE(readable(sender.freed_event()));
  sender.clear_event();
  EXPECT_FALSE(readable(sender.freed_event()));
  EXPECT_EQ(std::get<RingPlace>(sender.allocate(1024)).offset, places[2].offset);
  EXPECT_EQ(std::get<RingSender::Refusal>(sender.allocate(2048)), RingSender::Refusal::kFull);
}

TEST(SharedRing, AViewIsSteppedOverUntilItsLastHandleIsGone) {
  auto [sender, receiver] = ring(4096);
  const RingPlace first = put(sender, 1024, 'v');
  auto view = receiver.take(first, 1).value();
  EXPECT_EQ(receiver.bytes_held(), 1024u);
  for (int round = 0; round < 20; ++round) {
    const RingPlace place = put(sender, 1024, static_cast<char>('a' + round));
    EXPECT_NE(place.offset, first.offset);
    ASSERT_TRUE(receiver.take(place, kCopy).ok());
  }
  EXPECT_EQ(static_cast<char>(view->data()[1023]), 'v');
  auto second_handle = view;
  view.reset();
  EXPECT_EQ(sender.bytes_in_use(), 1024u);
  second_handle.reset();
  EXPECT_EQ(sender.bytes_in_use(), 0u);
  EXPECT_EQ(receiver.bytes_held(), 0u);
}

TEST(SharedRing, NoMoreThanHalfOfItIsHeld) {
  auto [sender, receiver] = ring(4096);
  std::vector<std::shared_ptr<Storage>> views;
  for (int i = 0; i < 4; ++i) views.push_back(receiver.take(put(sender, 1024, 'x'), 1).value());
  EXPECT_EQ(receiver.bytes_held(), 2048u);
  EXPECT_EQ(sender.bytes_in_use(), 2048u);
  // Everything has been read, and what is in the way is held: waiting would be for ever.
  EXPECT_EQ(std::get<RingSender::Refusal>(sender.allocate(3000)), RingSender::Refusal::kHeld);
}

TEST(SharedRing, ACancelledPlaceIsFree) {
  auto [sender, receiver] = ring(1024);
  sender.cancel(put(sender, 1024, 'x'));
  EXPECT_EQ(std::get<RingPlace>(sender.allocate(1024)).offset, 0u);
}

TEST(SharedRing, PlacesOutsideAreErrors) {
  auto [sender, receiver] = ring(4096);
  for (const RingPlace place : {RingPlace{0, 4097, 0}, RingPlace{4096, 64, 0}, RingPlace{1, 8, 0},
                                RingPlace{~uint64_t{63}, 128, 0}, RingPlace{0, 64, 1u << 20}}) {
    EXPECT_FALSE(receiver.take(place, kCopy).ok());
  }
}

TEST(SharedRing, ManySmallBodiesNeverRunOutOfSlots) {
  auto [sender, receiver] = ring(1 << 20);
  std::vector<RingPlace> places;
  for (;;) {
    const auto place = sender.allocate(1);
    if (std::holds_alternative<RingSender::Refusal>(place)) break;
    places.push_back(std::get<RingPlace>(place));
  }
  EXPECT_GT(places.size(), 500u);
  for (const RingPlace& place : places) ASSERT_TRUE(receiver.take(place, kCopy).ok());
  EXPECT_TRUE(std::holds_alternative<RingPlace>(sender.allocate(1)));
}

TEST(SharedRing, MemoryOfAnotherKindIsRefused) {
  auto other = RingSender::create(4096).value();
  UniqueFd null(open("/dev/null", 2));
  EXPECT_FALSE(RingReceiver::open(std::move(null), copy_of(other.freed_event())).ok());
}

}  // namespace
}  // namespace tutti
