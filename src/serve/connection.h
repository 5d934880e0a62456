// What the connections of one server share, and the life of a connection. Included by the server's
// own files alone.
//
// Thread: a connection runs on its strand; ServerContext's counters and set are for any thread.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <condition_variable>
#include <limits>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "base/worker_pool.h"
#include "serve/http_server.h"
#include "serve/router.h"

namespace tutti::serve {

namespace net = boost::asio;
using tcp = net::ip::tcp;

// A connection as stop() sees it.
class Closable {
 public:
  virtual ~Closable() = default;
  // Any thread. `idle_only`: not while a request is being answered.
  virtual void close(bool idle_only) = 0;
};

struct ServerContext {
  ServerContext(const Router& r, HttpServerOptions o) : router(r), options(std::move(o)) {}

  const Router& router;
  const HttpServerOptions options;
  net::io_context io;
  std::unique_ptr<net::ssl::context> tls;
  std::atomic<bool> stopping{false};
  // Runs the handlers of large bodies: reading one takes as long as many small answers. What waits
  // is bounded by the connections.
  WorkerPool handlers{"handlers", 2, std::numeric_limits<size_t>::max()};

  void enter(Closable* connection);
  void leave(Closable* connection);
  int64_t connections() const;
  void close_all(bool idle_only);
  // False when some are left at the deadline.
  bool wait_empty(double seconds);

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_set<Closable*> open_;
};
using ServerContextPtr = std::shared_ptr<ServerContext>;

// Serves a connection to its end.
net::awaitable<void> serve_connection(ServerContextPtr context, tcp::socket socket);

}  // namespace tutti::serve
