// Any bytes as a message between an engine and its worker process: an error, or a message that is
// written and read again as the same bytes. Two bytes of length, the message, its tensors.
#include <cstdlib>

#include "stages/wire_messages.h"

namespace {

using namespace tutti;

template <typename Message, typename Decode>
void round_trip(std::span<const std::byte> meta, const std::shared_ptr<Storage>& body,
                Decode decode) {
  const Result<Message> first = decode(meta, body);
  if (!first) return;
  WireWriter writer;
  encode(writer, first.value());
  auto copy = allocate_host(writer.body_bytes() + kWireAlignment);
  writer.copy_body(copy->data());
  const Result<Message> second = decode(writer.meta(), copy);
  if (!second) std::abort();
  WireWriter again;
  encode(again, second.value());
  if (!std::ranges::equal(writer.meta(), again.meta())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t meta_bytes = std::min<size_t>(data[0] | (data[1] << 8), size - 2);
  auto body = allocate_host(size - 2);
  if (size > 2) std::memcpy(body->data(), data + 2, size - 2);
  const std::span<const std::byte> meta(body->data(), meta_bytes);
  round_trip<ToWorker>(meta, body, decode_to_worker);
  round_trip<FromWorker>(meta, body, decode_from_worker);
  return 0;
}
