#include "serve/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <condition_variable>
#include <mutex>

#include "base/unique_fd.h"
#include "serve/router.h"

namespace tutti::serve {
namespace {

using ::testing::HasSubstr;

// The whole answer to a request that closes its connection.
class Exchange {
 public:
  Exchange(uint16_t port, const std::string& bytes)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  std::string answer() const {
    std::string out;
    char buffer[4096];
    for (ssize_t n = 0; (n = recv(fd_.get(), buffer, sizeof(buffer), 0)) > 0;) {
      out.append(buffer, static_cast<size_t>(n));
    }
    return out;
  }

 private:
  const UniqueFd fd_;
};

std::string request(const std::string& method, const std::string& path, const std::string& body) {
  return method + " " + path + " HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

// A handler that takes long over a large body holds up nobody, even with one thread for all
// connections: here it ends only once another request has been answered.
TEST(HttpServer, LargeBodiesHoldNobodyUp) {
  std::mutex mutex;
  std::condition_variable changed;
  bool begun = false;
  bool asked = false;
  Router router;
  router.add("POST", "/slow", [&](HttpRequest http, HttpReplyPtr reply) {
    std::unique_lock lock(mutex);
    begun = true;
    changed.notify_all();
    const bool in_time = changed.wait_for(lock, std::chrono::seconds(20), [&] { return asked; });
    reply->send(
        {.body = (in_time ? "others went on: " : "held up: ") + std::to_string(http.body.size())});
  });
  router.add("GET", "/quick", [&](HttpRequest, HttpReplyPtr reply) {
    {
      const std::lock_guard lock(mutex);
      asked = true;
    }
    changed.notify_all();
    reply->send({.body = "here"});
  });
  HttpServerOptions options;
  options.port = 0;
  options.num_threads = 1;
  auto server = HttpServer::start(router, options);
  ASSERT_TRUE(server.ok()) << server.error().message();
  const Exchange slow((*server)->port(), request("POST", "/slow", std::string(100'000, 'x')));
  {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return begun; }));
  }
  const Exchange quick((*server)->port(), request("GET", "/quick", ""));
  EXPECT_THAT(quick.answer(), HasSubstr("here"));
  EXPECT_THAT(slow.answer(), HasSubstr("others went on: 100000"));
  (*server)->stop(1);
}

}  // namespace
}  // namespace tutti::serve
