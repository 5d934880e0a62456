#include "stages/message_channel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace tutti {
namespace {

constexpr uint32_t kMagic = 0x69747574;  // "tuti"
// Both ends come from one build; a worker left over from another one is told apart.
constexpr uint32_t kVersion = 2;
constexpr size_t kMaxInline = size_t{64} << 10;
constexpr size_t kSetupFiles = 5;

enum class BodyPlace : uint32_t { kInline, kRing, kFile, kSetup };

Status system_error(const char* what, int error) {
  return internal_error(
      fmt::format("Talking to a worker process failed: {}: {}.", what, std::strerror(error)));
}

Status damaged(const std::string& what) {
  return internal_error("A packet between processes " + what + ".");
}

int poll_timeout(Deadline deadline) {
  if (deadline.is_never()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline.time() - Clock::steady().now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
}

// Descriptors that came with a packet, owned from the first moment on.
std::vector<UniqueFd> take_files(msghdr& header) {
  std::vector<UniqueFd> files;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      files.emplace_back(fd);
    }
  }
  return files;
}

}  // namespace

struct MessageChannel::Packet {
  uint32_t magic = kMagic;
  uint32_t version = kVersion;
  BodyPlace place = BodyPlace::kInline;
  uint32_t slot = 0;  // of the ring
  uint64_t offset = 0;
  uint64_t body_bytes = 0;
  uint64_t meta_bytes = 0;
};

MessageChannel::MessageChannel(UniqueFd socket, const ChannelOptions& options, RingSender ring,
                               RingReceiver incoming, WorkerPulse pulse)
    : socket_(std::move(socket)),
      options_(options),
      pulse_(std::move(pulse)),
      ring_(std::move(ring)),
      incoming_(std::move(incoming)),
      packet_(sizeof(Packet) + kMaxInline) {
  options_.inline_bytes = std::min(options_.inline_bytes, kMaxInline);
}

Result<MessageChannel> MessageChannel::create(const ChannelOptions& options, UniqueFd* other) {
  std::array<int, 2> ends = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return system_error("socketpair", errno);
  }
  UniqueFd mine(ends[0]);
  other->reset(ends[1]);
  TUTTI_ASSIGN_OR_RETURN(RingSender ring, RingSender::create(options.ring_bytes));
  TUTTI_ASSIGN_OR_RETURN(RingReceiver incoming, RingReceiver::create(options.ring_bytes));
  TUTTI_ASSIGN_OR_RETURN(WorkerPulse pulse, WorkerPulse::create());
  MessageChannel channel(std::move(mine), options, std::move(ring), std::move(incoming),
                         std::move(pulse));
  const std::array<int, kSetupFiles> files = {
      channel.ring_.memory_fd(), channel.ring_.freed_event(), channel.incoming_.memory_fd(),
      channel.incoming_.freed_event(), channel.pulse_.memory_fd()};
  Packet packet{.place = BodyPlace::kSetup, .body_bytes = sizeof(ChannelOptions)};
  const auto body = std::as_bytes(std::span(&channel.options_, 1));
  if (channel.send_packet(packet, body, files) != Sent::kSent) return system_error("send", errno);
  return channel;
}

Result<MessageChannel> MessageChannel::accept(UniqueFd socket, Deadline deadline) {
  pollfd ready = {socket.get(), POLLIN, 0};
  if (poll(&ready, 1, poll_timeout(deadline)) <= 0) {
    return deadline_exceeded("The parent process has not set up the channel in time.");
  }
  Packet packet{.magic = 0};
  ChannelOptions options;
  std::array<iovec, 2> parts = {iovec{&packet, sizeof packet}, iovec{&options, sizeof options}};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kSetupFiles * sizeof(int))> control;
  msghdr header = {};
  header.msg_iov = parts.data();
  header.msg_iovlen = parts.size();
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t got = recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  std::vector<UniqueFd> files = take_files(header);
  if (got != sizeof packet + sizeof options || packet.magic != kMagic ||
      packet.version != kVersion || packet.place != BodyPlace::kSetup ||
      files.size() != kSetupFiles) {
    return damaged(fmt::format("does not set up a channel of version {}", kVersion));
  }
  TUTTI_ASSIGN_OR_RETURN(RingReceiver incoming,
                         RingReceiver::open(std::move(files[0]), std::move(files[1])));
  TUTTI_ASSIGN_OR_RETURN(RingSender ring,
                         RingSender::open(std::move(files[2]), std::move(files[3])));
  TUTTI_ASSIGN_OR_RETURN(WorkerPulse pulse, WorkerPulse::open(std::move(files[4])));
  return MessageChannel(std::move(socket), options, std::move(ring), std::move(incoming),
                        std::move(pulse));
}

// --- sending

MessageChannel::Sent MessageChannel::send_packet(Packet& packet, std::span<const std::byte> body,
                                                 std::span<const int> files) {
  std::array<iovec, 2> parts = {
      iovec{&packet, sizeof packet},
      iovec{const_cast<std::byte*>(body.data()), body.size()},
  };
  msghdr header = {};
  header.msg_iov = parts.data();
  header.msg_iovlen = body.empty() ? 1 : 2;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kSetupFiles * sizeof(int))> control{};
  if (!files.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(files.size() * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(files.size() * sizeof(int));
    std::memcpy(CMSG_DATA(part), files.data(), files.size() * sizeof(int));
  }
  for (;;) {
    if (sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return Sent::kSent;
    if (errno == EINTR) continue;
    socket_was_full_ = errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS;
    return socket_was_full_ ? Sent::kFull : Sent::kClosed;
  }
}

Result<MessageChannel::Sent> MessageChannel::send(const WireWriter& message) {
  socket_was_full_ = false;
  const size_t bytes = message.body_bytes();
  Packet packet{.body_bytes = bytes, .meta_bytes = message.meta().size()};
  if (bytes > options_.max_body_bytes) {
    return invalid_argument(
        fmt::format("A message of {} bytes is too large for a worker process; up to {} are "
                    "allowed.",
                    bytes, options_.max_body_bytes));
  }
  if (bytes <= options_.inline_bytes) {
    if (bytes == message.meta().size()) return send_packet(packet, message.meta(), {});
    outgoing_.resize(bytes);
    message.copy_body(outgoing_.data());
    return send_packet(packet, outgoing_, {});
  }
  if (bytes > ring_.capacity() / 4) return send_in_file(packet, message);
  const auto allocated = ring_.allocate(bytes);
  if (const auto* refusal = std::get_if<RingSender::Refusal>(&allocated)) {
    if (*refusal == RingSender::Refusal::kFull) return Sent::kFull;
    return send_in_file(packet, message);
  }
  const auto& place = std::get<RingPlace>(allocated);
  message.copy_body(ring_.data(place));
  packet.place = BodyPlace::kRing;
  packet.offset = place.offset;
  packet.slot = place.slot;
  const Sent sent = send_packet(packet, {}, {});
  if (sent != Sent::kSent) ring_.cancel(place);
  return sent;
}

Result<MessageChannel::Sent> MessageChannel::send_in_file(Packet& packet,
                                                          const WireWriter& message) {
  pollfd writable = {socket_.get(), POLLOUT, 0};
  if (poll(&writable, 1, 0) == 0) {  // before the work, not after it
    socket_was_full_ = true;
    return Sent::kFull;
  }
  const UniqueFd file(memfd_create("tutti-body", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return system_error("memfd_create", errno);
  const size_t bytes = packet.body_bytes;
  if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    return system_error("ftruncate", errno);
  }
  fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return system_error("mmap", errno);
  message.copy_body(static_cast<std::byte*>(at));
  munmap(at, bytes);
  packet.place = BodyPlace::kFile;
  const std::array<int, 1> files = {file.get()};
  return send_packet(packet, {}, files);
}

void MessageChannel::wait_for_room() const {
  const short wanted = socket_was_full_ ? POLLOUT : 0;
  std::array<pollfd, 2> events = {pollfd{socket_.get(), static_cast<short>(wanted | POLLRDHUP), 0},
                                  pollfd{socket_was_full_ ? -1 : room_event(), POLLIN, 0}};
  poll(events.data(), events.size(), -1);
  if (events[1].revents != 0) clear_room_event();
}

// --- receiving

Result<MessageChannel::Received> MessageChannel::receive(Message& message) {
  body_.reset();
  iovec part = {packet_.data(), packet_.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kSetupFiles * sizeof(int))> control;
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t got = -1;
  do {
    got = recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return Received::kNothing;
  if (got <= 0) return Received::kClosed;
  std::vector<UniqueFd> files = take_files(header);
  Packet packet;
  if (static_cast<size_t>(got) < sizeof packet) return damaged("is too short");
  std::memcpy(&packet, packet_.data(), sizeof packet);
  if (packet.magic != kMagic) return damaged("does not begin as one");
  if (packet.version != kVersion) {
    return damaged(
        fmt::format("is of version {}; this program speaks {}", packet.version, kVersion));
  }
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return damaged("is too long");
  if (packet.meta_bytes > packet.body_bytes) return damaged("contradicts itself");
  const auto body = std::span<const std::byte>(packet_).subspan(
      sizeof packet, static_cast<size_t>(got) - sizeof packet);
  if (files.size() > 1) return damaged("brings too many files");
  TUTTI_RETURN_IF_ERROR(
      open_body(packet, body, files.empty() ? UniqueFd() : std::move(files.front()), message));
  return Received::kMessage;
}

Status MessageChannel::open_body(const Packet& packet, std::span<const std::byte> inline_body,
                                 UniqueFd file, Message& message) {
  const auto bytes = static_cast<size_t>(packet.body_bytes);
  switch (packet.place) {
    case BodyPlace::kInline:
      if (inline_body.size() != bytes) return damaged("has a body of another length");
      message.meta = inline_body.first(packet.meta_bytes);
      message.body.reset();
      if (bytes == packet.meta_bytes) return {};
      body_ = allocate_host(bytes);
      std::memcpy(body_->data(), inline_body.data(), bytes);
      break;
    case BodyPlace::kRing: {
      const RingPlace place{.offset = packet.offset, .bytes = bytes, .slot = packet.slot};
      TUTTI_ASSIGN_OR_RETURN(body_, incoming_.take(place, options_.view_min_bytes));
      break;
    }
    case BodyPlace::kFile: {
      struct stat info = {};
      if (fstat(file.get(), &info) != 0 || static_cast<size_t>(info.st_size) < bytes ||
          bytes == 0) {
        return damaged("comes without its file");
      }
      void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
      if (at == MAP_FAILED) return system_error("mmap", errno);
      body_ =
          std::make_shared<Storage>(at, bytes, Device{}, [bytes](void* p) { munmap(p, bytes); });
      break;
    }
    default:
      return damaged("has its body in an unknown place");
  }
  message.meta = std::span<const std::byte>(body_->data(), packet.meta_bytes);
  message.body = body_;
  return {};
}

bool MessageChannel::wait_readable(Deadline deadline) const {
  pollfd ready = {socket_.get(), POLLIN, 0};
  for (;;) {
    if (poll(&ready, 1, poll_timeout(deadline)) > 0) return true;
    if (deadline.passed(Clock::steady().now())) return false;
  }
}

bool MessageChannel::peer_has_gone() const {
  pollfd gone = {socket_.get(), POLLRDHUP, 0};
  return poll(&gone, 1, 0) > 0 && (gone.revents & (POLLRDHUP | POLLHUP)) != 0;
}

void MessageChannel::shut_down() const { ::shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace tutti
