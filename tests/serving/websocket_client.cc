#include "websocket_client.h"

#include <array>

namespace tutti::testing {

namespace json = boost::json;

WebSocketClient::WebSocketClient(const ServerProcess& server, const std::string& target,
                                 const std::string& headers)
    : socket_(server) {
  socket_.send("GET " + target +
               " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
               headers + "\r\n");
  while (!handshake_.ends_with("\r\n\r\n")) {
    const std::string byte = socket_.take(1);
    if (byte.empty()) break;
    handshake_ += byte;
  }
}

bool WebSocketClient::send_frame(uint8_t first, const std::string& payload, bool masked) const {
  std::string frame(1, static_cast<char>(first));
  const auto mask_bit = static_cast<uint8_t>(masked ? 0x80 : 0);
  const auto put_length = [&](uint8_t marker, int bytes) {
    frame.push_back(static_cast<char>(mask_bit | marker));
    for (int i = bytes - 1; i >= 0; --i)
      frame.push_back(static_cast<char>(static_cast<uint64_t>(payload.size()) >> (8 * i) & 255));
  };
  if (payload.size() < 126) {
    put_length(static_cast<uint8_t>(payload.size()), 0);
  } else if (payload.size() < 65536) {
    put_length(126, 2);
  } else {
    put_length(127, 8);
  }
  constexpr std::array<char, 4> kMask{0x12, 0x34, 0x56, 0x78};
  if (masked) frame.append(kMask.data(), kMask.size());
  for (size_t i = 0; i < payload.size(); ++i) {
    frame.push_back(masked ? static_cast<char>(payload[i] ^ kMask[i % 4]) : payload[i]);
  }
  return socket_.send(frame);
}

bool WebSocketClient::send(const json::object& event) const {
  constexpr uint8_t kWholeText = 0x81;
  return send_frame(kWholeText, json::serialize(event));
}

std::optional<WebSocketClient::Frame> WebSocketClient::read_frame() {
  const std::string head = socket_.take(2);
  if (head.size() < 2) return std::nullopt;
  Frame frame;
  frame.final = (static_cast<uint8_t>(head[0]) & 128) != 0;
  frame.opcode = static_cast<uint8_t>(head[0]) & 15;
  uint64_t length = static_cast<uint8_t>(head[1]) & 127;
  const size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
  if (more > 0) {
    length = 0;
    for (const char c : socket_.take(more)) length = length << 8 | static_cast<uint8_t>(c);
  }
  frame.payload = socket_.take(length);
  return frame;
}

std::optional<json::object> WebSocketClient::next() {
  constexpr uint8_t kContinuation = 0, kText = 1, kClose = 8, kPing = 9, kPong = 10;
  while (const auto frame = read_frame()) {
    if (frame->opcode == kText || frame->opcode == kContinuation) {
      message_ += frame->payload;
      if (frame->final) return json::parse(std::exchange(message_, {})).as_object();
    }
    if (frame->opcode == kPing) send_frame(0x80 | kPong, frame->payload);
    if (frame->opcode != kClose) continue;
    if (frame->payload.size() >= 2) {
      close_code_ =
          static_cast<uint8_t>(frame->payload[0]) << 8 | static_cast<uint8_t>(frame->payload[1]);
    }
    send_frame(0x80 | kClose, frame->payload.substr(0, 2));
    return std::nullopt;
  }
  return std::nullopt;
}

std::optional<json::object> WebSocketClient::next(const std::string& type) {
  passed.clear();
  while (auto event = next()) {
    if (event->at("type").as_string() == std::string_view(type)) return event;
    passed.push_back(std::move(*event));
  }
  return std::nullopt;
}

int WebSocketClient::close_code() {
  while (next()) {
  }
  return close_code_;
}

std::string base64(const std::string& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k)
      out.push_back(i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=');
  }
  return out;
}

}  // namespace tutti::testing
