#include "serve/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "base/unique_fd.h"
#include "serve/router.h"

namespace tutti::serve {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kLastChunk = "0\r\n\r\n";

// One request, and what the server says until it closes the connection.
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
  std::string answer() {
    std::string out;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = recv(fd_.get(), buffer, sizeof(buffer), 0)) > 0) {
      out.append(buffer, static_cast<size_t>(n));
    }
    was_reset_ = n < 0 && errno == ECONNRESET;
    return out;
  }
  // Whether the answer ended with a reset.
  bool was_reset() const { return was_reset_; }

 private:
  const UniqueFd fd_;
  bool was_reset_ = false;
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
  Exchange slow((*server)->port(), request("POST", "/slow", std::string(100'000, 'x')));
  {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return begun; }));
  }
  Exchange quick((*server)->port(), request("GET", "/quick", ""));
  EXPECT_THAT(quick.answer(), HasSubstr("here"));
  EXPECT_THAT(slow.answer(), HasSubstr("others went on: 100000"));
  (*server)->stop(1);
}

TEST(HttpServer, BodiesThatAreNotWholeLackTheirEnd) {
  Router router;
  const auto add = [&](const char* path, bool whole) {
    router.add("GET", path, [whole](HttpRequest, HttpReplyPtr reply) {
      reply->begin({.content_type = "text/plain"});
      reply->write("hello");
      whole ? reply->end() : reply->break_off();
      EXPECT_FALSE(reply->write("more"));
    });
  };
  add("/whole", true);
  add("/broken", false);
  HttpServerOptions options;
  options.port = 0;
  auto server = HttpServer::start(router, options);
  ASSERT_TRUE(server.ok()) << server.error().message();
  // With a connection that would be kept, were the answer whole.
  Exchange broken((*server)->port(), "GET /broken HTTP/1.1\r\nHost: t\r\n\r\n");
  const std::string answer = broken.answer();
  EXPECT_THAT(answer, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n5\r\nhello\r\n"));
  EXPECT_FALSE(broken.was_reset());
  // An older client takes the end of the connection for the end of the body.
  Exchange older((*server)->port(), "GET /broken HTTP/1.0\r\n\r\n");
  EXPECT_THAT(older.answer(), Not(HasSubstr("chunked")));
  EXPECT_TRUE(older.was_reset());
  Exchange whole((*server)->port(), request("GET", "/whole", ""));
  EXPECT_THAT(whole.answer(), EndsWith(kLastChunk));
  Exchange older_whole((*server)->port(), "GET /whole HTTP/1.0\r\n\r\n");
  EXPECT_THAT(older_whole.answer(), EndsWith("\r\n\r\nhello"));
  EXPECT_FALSE(older_whole.was_reset());
  (*server)->stop(1);
}

TEST(HttpServer, WhoIsCutOffIsReported) {
  std::promise<void> gone;
  std::jthread producer;
  Router router;
  router.add("GET", "/endless", [&](HttpRequest, HttpReplyPtr reply) {
    reply->on_disconnect([&gone] { gone.set_value(); });
    reply->begin({.content_type = "text/plain"});
    producer = std::jthread([reply] {
      const std::string piece(16 << 10, 'x');
      while (reply->write(piece)) {
      }
      reply->end();  // too late to make it look whole
    });
  });
  HttpServerOptions options;
  options.port = 0;
  options.max_unread_bytes = 1 << 20;
  auto server = HttpServer::start(router, options);
  ASSERT_TRUE(server.ok()) << server.error().message();
  Exchange exchange((*server)->port(), "GET /endless HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_THAT(exchange.answer(), Not(EndsWith(kLastChunk)));
  (*server)->stop(1);
}

}  // namespace
}  // namespace tutti::serve
