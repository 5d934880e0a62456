// MessageChannel: one end of the connection between a replica's handle and its worker process: a
// Unix socket whose packets carry small messages whole and name the place of larger ones.
//
// A body up to inline_bytes travels in its packet; a larger one lies in the SharedRing of its
// direction; one that is large for the ring, or finds it full of regions that the receiver keeps,
// comes as a file in memory of its own. So no size fails, and a full ring is backpressure only
// while the receiver has something to read.
// Thread: send() one at a time, receive() one at a time; the two beside each other.
// Invariants: a packet is sent whole or not at all; everything that arrives is checked. Ownership:
// the socket, both rings, the pulse.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "tutti/status.h"

#include "base/clock.h"
#include "base/unique_fd.h"
#include "stages/shared_ring.h"
#include "stages/wire.h"
#include "stages/worker_pulse.h"

namespace tutti {

struct ChannelOptions {
  size_t ring_bytes = size_t{16} << 20;  // of each direction
  size_t inline_bytes = 8 << 10;         // bodies up to this travel in the packet; at most 64 KiB
  // Bodies from this size on are read where the sender put them; smaller ones are copied.
  size_t view_min_bytes = size_t{256} << 10;
  size_t max_body_bytes = size_t{4} << 30;
};

class MessageChannel {
 public:
  // A new channel; `*other` is the socket for the process at its other end.
  static Result<MessageChannel> create(const ChannelOptions& options, UniqueFd* other);
  // In the other process; waits for what create() has sent.
  static Result<MessageChannel> accept(UniqueFd socket, Deadline deadline);

  // kFull: try again when wait_for_room() says so. kClosed: nobody reads any more.
  enum class Sent : uint8_t { kSent, kFull, kClosed };
  // Error: the body is larger than max_body_bytes, or the system refused memory.
  Result<Sent> send(const WireWriter& message);

  struct Message {
    std::span<const std::byte> meta;  // valid until the next receive()
    std::shared_ptr<Storage> body;    // null when there are no tensors
  };
  enum class Received : uint8_t { kMessage, kNothing, kClosed };
  // Never waits. Error: what came is no packet of this version.
  Result<Received> receive(Message& message);

  int socket() const { return socket_.get(); }
  // Readable when the ring may have room after send() had found it full.
  int room_event() const { return ring_.freed_event(); }
  void clear_room_event() const { ring_.clear_event(); }
  // Whether the last send() found the socket full (poll for POLLOUT) or the ring.
  bool socket_was_full() const { return socket_was_full_; }
  // The other end was closed or its process has ended, though there may be more to read.
  bool peer_has_gone() const;
  // Both ends read the end of the channel from now on. Any thread.
  void shut_down() const;
  // What the worker's end tells of itself without sending.
  const WorkerPulse& pulse() const { return pulse_; }
  // Until the socket has something to read (or its end); false when the deadline came first.
  bool wait_readable(Deadline deadline) const;
  // After kFull, until a further try may succeed, or the other end has gone.
  void wait_for_room() const;

 private:
  struct Packet;
  MessageChannel(UniqueFd socket, const ChannelOptions& options, RingSender ring,
                 RingReceiver incoming, WorkerPulse pulse);
  Sent send_packet(Packet& packet, std::span<const std::byte> body, std::span<const int> files);
  Result<Sent> send_in_file(Packet& packet, const WireWriter& message);
  Status open_body(const Packet& packet, std::span<const std::byte> inline_body, UniqueFd file,
                   Message& message);

  UniqueFd socket_;
  ChannelOptions options_;
  WorkerPulse pulse_;
  // Sender's side.
  RingSender ring_;
  std::vector<std::byte> outgoing_;
  bool socket_was_full_ = false;
  // Receiver's side.
  RingReceiver incoming_;
  std::vector<std::byte> packet_;
  std::shared_ptr<Storage> body_;  // of the last message, while its meta may be read
};

}  // namespace tutti
