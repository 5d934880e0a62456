// URLs against a server inside the test: hosts, addresses, sizes, times, redirects.
#include "media/url_fetch.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

namespace tutti {
namespace {

using ::testing::HasSubstr;

// Answers every connection with the same bytes; an empty answer leaves the caller waiting.
class Server {
 public:
  explicit Server(std::string answer) : answer_(std::move(answer)) {
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
  ~Server() {
    thread_.request_stop();
    thread_.join();
    close(listener_);
  }
  std::string url(const std::string& target = "/a.png") const {
    return "http://127.0.0.1:" + std::to_string(port_) + target;
  }
  int connections() const { return connections_; }
  const std::string& request() const { return request_; }

 private:
  void serve(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd waiting = {listener_, POLLIN, 0};
      if (poll(&waiting, 1, 20) <= 0) continue;
      const int peer = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      ++connections_;
      if (!answer_.empty()) {
        char buffer[4096];
        const ssize_t got = read(peer, buffer, sizeof buffer);
        request_.assign(buffer, static_cast<size_t>(std::max<ssize_t>(got, 0)));
        send(peer, answer_.data(), answer_.size(), MSG_NOSIGNAL);
      } else {
        while (!stop.stop_requested()) usleep(10'000);
      }
      close(peer);
    }
  }

  std::string answer_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_ = 0;
  std::string request_;
  std::jthread thread_;
};

std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: close\r\n\r\n" + body;
}

UrlPolicy loopback() {
  UrlPolicy policy;
  policy.allowed_domains = {"127.0.0.1", "localhost"};
  policy.allowed_address = [](const IpAddress&) { return true; };
  return policy;
}

std::string error_of(const std::string& url, const UrlPolicy& policy, int64_t max_bytes = 1000) {
  const auto body = fetch_url(url, max_bytes, policy);
  return body.ok() ? "no error" : body.error().message();
}

TEST(UrlFetch, Body) {
  const Server server(ok("hello"));
  const auto body = fetch_url(server.url("/a.png?x=1#part"), 5, loopback());
  ASSERT_TRUE(body.ok()) << body.error().message();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(body->data()), body->size()), "hello");
  EXPECT_THAT(server.request(), ::testing::StartsWith("GET /a.png?x=1 HTTP/1.1\r\n"));
}

TEST(UrlFetch, LoopbackIsRefusedBeforeAConnection) {
  const Server server(ok("secret"));
  UrlPolicy policy = loopback();
  policy.allowed_address = UrlPolicy().allowed_address;
  EXPECT_THAT(error_of(server.url(), policy), HasSubstr("not in the public network"));
  std::string by_name = server.url();
  by_name.replace(by_name.find("127.0.0.1"), 9, "localhost");
  EXPECT_THAT(error_of(by_name, policy), HasSubstr("not in the public network"));
  EXPECT_EQ(server.connections(), 0);
}

TEST(UrlFetch, HostsMustBeAllowed) {
  const Server server(ok("hello"));
  UrlPolicy policy = loopback();
  policy.allowed_domains = {};
  EXPECT_THAT(error_of(server.url(), policy), HasSubstr("unless the operator allows domains"));
  policy.allowed_domains = {"example.org"};
  EXPECT_THAT(error_of(server.url(), policy), HasSubstr("allowed are example.org"));
  EXPECT_EQ(server.connections(), 0);
  EXPECT_TRUE(is_allowed_host("Example.ORG.", {"example.org"}));
  EXPECT_TRUE(is_allowed_host("a.b.example.org", {"x", "Example.org"}));
  EXPECT_FALSE(is_allowed_host("badexample.org", {"example.org"}));
  EXPECT_FALSE(is_allowed_host("example.org.evil.net", {"example.org"}));
  EXPECT_FALSE(is_allowed_host("org", {"example.org", ""}));
}

TEST(UrlFetch, SizesAndStatuses) {
  const Server large(ok(std::string(2000, 'x')));
  EXPECT_THAT(error_of(large.url(), loopback()), HasSubstr("larger than"));
  const Server endless("HTTP/1.1 200 OK\r\n\r\n" + std::string(5000, 'x'));
  EXPECT_THAT(error_of(endless.url(), loopback()), HasSubstr("larger than"));
  const Server empty(ok(""));
  EXPECT_THAT(error_of(empty.url(), loopback()), HasSubstr("empty (0 bytes)"));
  const Server cut("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
  EXPECT_THAT(error_of(cut.url(), loopback()), HasSubstr("cannot be fetched"));
  const Server missing("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
  EXPECT_THAT(error_of(missing.url(), loopback()), HasSubstr("404"));
  const Server moved("HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n");
  EXPECT_THAT(error_of(moved.url(), loopback()), HasSubstr("redirects are not followed"));
}

TEST(UrlFetch, EndsInTime) {
  const Server silent("");
  UrlPolicy policy = loopback();
  policy.timeout_s = 0.1;
  EXPECT_THAT(error_of(silent.url(), policy), HasSubstr("took longer than the 0.1 s"));
}

TEST(UrlFetch, UrlsThatAreNone) {
  for (const char* url :
       {"http:///a", "http://", "ftp://127.0.0.1/", "http://127.0.0.1@10.0.0.1/",
        "http://127.0.0.1:99999999/", "http://127.0.0.1:x/", "http://[::1/", "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nX: y", "http://127.0.0.1\\@10.0.0.1/"}) {
    EXPECT_THAT(error_of(url, loopback()), HasSubstr("the URL is no")) << url;
  }
}

TEST(UrlFetch, PublicAddresses) {
  const auto is_public = [](const char* text) {
    IpAddress address = {};
    if (std::strchr(text, ':') == nullptr) {
      address[10] = address[11] = 0xFF;
      EXPECT_EQ(inet_pton(AF_INET, text, address.data() + 12), 1);
    } else {
      EXPECT_EQ(inet_pton(AF_INET6, text, address.data()), 1);
    }
    return is_public_address(address);
  };
  for (const char* address : {"8.8.8.8", "172.32.0.1", "100.128.0.1", "192.169.0.1", "1.1.1.1",
                              "2606:4700::1", "2a00:1450::1", "::ffff:8.8.8.8"}) {
    EXPECT_TRUE(is_public(address)) << address;
  }
  for (const char* address : {"0.0.0.0",
                              "10.1.2.3",
                              "100.64.0.1",
                              "127.0.0.1",
                              "127.8.8.8",
                              "169.254.169.254",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.0.2.1",
                              "192.168.1.1",
                              "198.18.0.1",
                              "224.0.0.1",
                              "255.255.255.255",
                              "::",
                              "::1",
                              "fe80::1",
                              "fc00::1",
                              "fd12::1",
                              "ff02::1",
                              "2001:db8::1",
                              "2002:7f00:1::",
                              "64:ff9b::7f00:1",
                              "::ffff:127.0.0.1",
                              "::ffff:10.0.0.1",
                              "::127.0.0.1"}) {
    EXPECT_FALSE(is_public(address)) << address;
  }
}

}  // namespace
}  // namespace tutti
