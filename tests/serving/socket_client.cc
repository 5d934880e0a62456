#include "socket_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace tutti::testing {

SocketClient::SocketClient(const ServerProcess& server)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server.port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    shutdown(fd_, SHUT_RDWR);
  }
  const timeval limit{60, 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

SocketClient::~SocketClient() { close(fd_); }

bool SocketClient::send(const std::string& bytes) const {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t count = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += static_cast<size_t>(count);
  }
  return true;
}

void SocketClient::half_close() const { shutdown(fd_, SHUT_WR); }

void SocketClient::reset() {
  const linger at_once{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(fd_);
  fd_ = -1;
}

bool SocketClient::read_some() {
  char buffer[16384];
  const ssize_t count = recv(fd_, buffer, sizeof(buffer), 0);
  if (count > 0) seen_.append(buffer, static_cast<size_t>(count));
  return count > 0;
}

const std::string& SocketClient::read_until(const std::string& text) {
  while (text.empty() || seen_.find(text) == std::string::npos) {
    if (!read_some()) break;
  }
  return seen_;
}

const std::string& SocketClient::read_all() { return read_until(""); }

std::string SocketClient::take(size_t count) {
  while (seen_.size() - taken_ < count) {
    if (!read_some()) break;
  }
  std::string out = seen_.substr(taken_, count);
  taken_ += out.size();
  return out;
}

bool SocketClient::at_end() { return taken_ == seen_.size() && !read_some(); }

std::string http_request(const std::string& method, const std::string& target,
                         const std::string& body, const std::string& headers) {
  return method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string ask(const ServerProcess& server, const std::string& bytes) {
  SocketClient client(server);
  client.send(bytes);
  return client.read_all();
}

std::string header_of(const std::string& answer, const std::string& name) {
  const std::string head = answer.substr(0, answer.find("\r\n\r\n"));
  const size_t at = head.find("\r\n" + name + ": ");
  if (at == std::string::npos) return {};
  const size_t begin = at + name.size() + 4;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

namespace {

template <typename Reached>
bool within(double seconds, const Reached& reached) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (;;) {
    if (reached()) return true;
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace

std::string metrics_with(const ServerProcess& server, const std::string& text, double seconds) {
  std::string metrics;
  within(seconds, [&] {
    metrics = ask(server, http_request("GET", "/metrics"));
    return metrics.find(text) != std::string::npos;
  });
  return metrics;
}

bool comes_back_to(const ServerProcess& server, int count, double seconds) {
  return within(seconds, [&] { return server.open_files() <= count; });
}

}  // namespace tutti::testing
