#include "apps/bench_serve/sse_parser.h"

#include <fmt/format.h>

namespace tutti::bench {
namespace {

constexpr size_t kMostEventBytes = 64 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

Status SseParser::feed(std::string_view bytes, OnEvent on_event) {
  while (!bytes.empty()) {
    if (std::exchange(after_return_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const size_t end = bytes.find_first_of("\r\n");
    if (rest_.size() + data_.size() + std::min(end, bytes.size()) > kMostEventBytes) {
      return Status(
          StatusCode::kPayloadTooLarge,
          fmt::format("An event of the stream has more than {} MiB.", kMostEventBytes >> 20));
    }
    if (end == std::string_view::npos) {
      rest_.append(bytes);
      return {};
    }
    std::string_view line = bytes.substr(0, end);
    if (!rest_.empty()) line = rest_.append(line);
    after_return_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    take_line(line, on_event);
    rest_.clear();
  }
  return {};
}

void SseParser::take_line(std::string_view line, OnEvent on_event) {
  if (std::exchange(at_begin_, false) && line.starts_with(kByteOrderMark)) {
    line.remove_prefix(kByteOrderMark.size());
  }
  if (line.empty()) {
    if (has_data_) on_event(name_, data_);
    name_.clear();
    data_.clear();
    has_data_ = false;
    return;
  }
  const size_t colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (std::exchange(has_data_, true)) data_.push_back('\n');
    data_.append(value);
  } else if (field == "event") {
    name_ = value;
  }
}

}  // namespace tutti::bench
