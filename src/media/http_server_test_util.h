// HttpServer: a server inside a test, at a loopback address and a free port.
//
// Thread: one of its own answers; the constructor and the destructor start and end it.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace tutti::testing {

// Answers every connection with the same bytes; an empty answer leaves the caller waiting.
class HttpServer {
 public:
  // Takes a request from the connection and answers it; for servers that do more than write.
  using Talk = std::function<void(int peer, const std::string& answer)>;

  explicit HttpServer(std::string answer, Talk talk = nullptr)
      : answer_(std::move(answer)), talk_(std::move(talk)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    listen(listener_, 8);
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this](std::stop_token stop) { serve(stop); });
  }
  ~HttpServer() {
    thread_.request_stop();
    thread_.join();
    close(listener_);
  }
  std::string url(const std::string& target = "/a.png", const std::string& scheme = "http",
                  const std::string& host = "127.0.0.1") const {
    return scheme + "://" + host + ":" + std::to_string(port_) + target;
  }
  int connections() const { return connections_; }
  std::string request() const {
    const std::lock_guard lock(mutex_);
    return request_;
  }

 private:
  void serve(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd waiting = {listener_, POLLIN, 0};
      if (poll(&waiting, 1, 20) <= 0) continue;
      const int peer = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      ++connections_;
      if (talk_) {
        talk_(peer, answer_);
      } else if (!answer_.empty()) {
        answer_plainly(peer);
      } else {
        while (!stop.stop_requested()) usleep(10'000);
      }
      close(peer);
    }
  }

  void answer_plainly(int peer) {
    char buffer[4096];
    const ssize_t got = read(peer, buffer, sizeof buffer);
    {
      const std::lock_guard lock(mutex_);
      request_.assign(buffer, static_cast<size_t>(std::max<ssize_t>(got, 0)));
    }
    send(peer, answer_.data(), answer_.size(), MSG_NOSIGNAL);
  }

  std::string answer_;
  Talk talk_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_ = 0;
  mutable std::mutex mutex_;
  std::string request_;
  std::jthread thread_;
};

inline std::string http_ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: close\r\n\r\n" + body;
}

}  // namespace tutti::testing
