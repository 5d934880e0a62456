#include "apps/tutti/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <array>

namespace tutti::cli {

namespace {

constexpr int kPoll_ms = 100;

std::string take_line(std::string& buffer, size_t length) {
  std::string line = buffer.substr(0, length);
  buffer.erase(0, length + 1);
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace

LineReader::Event LineReader::next(const InterruptGuard& interrupt, std::string& line) {
  while (true) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
      line = take_line(buffer_, end);
      return Event::kLine;
    }
    if (ended_) {
      line = take_line(buffer_, buffer_.size());
      return line.empty() ? Event::kEnd : Event::kLine;
    }
    if (interrupt.interrupted()) return Event::kInterrupted;
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, kPoll_ms) <= 0) continue;  // nothing yet, or a signal
    std::array<char, 4096> bytes;
    const ssize_t n = read(STDIN_FILENO, bytes.data(), bytes.size());
    if (n > 0) buffer_.append(bytes.data(), static_cast<size_t>(n));
    ended_ = n <= 0;
  }
}

}  // namespace tutti::cli
