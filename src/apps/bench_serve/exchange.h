// One request over a connection of its own, with its answer measured while it arrives.
//
// Thread: the run's one. Invariants: every exchange ends by its deadline; what it is given outlives
// it. Included by the load generator's own files alone, because of Asio.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tutti/status.h"

#include "apps/bench_serve/load_options.h"
#include "apps/bench_serve/measurement.h"
#include "apps/bench_serve/request_body.h"

namespace tutti::bench {

namespace net = boost::asio;
using SteadyClock = std::chrono::steady_clock;

// Where requests go, resolved once.
struct Target {
  HttpUrl url;
  std::vector<net::ip::tcp::endpoint> endpoints;
  std::unique_ptr<net::ssl::context> tls;  // null: plain
  std::vector<std::pair<std::string, std::string>> headers;
  SteadyClock::time_point epoch;  // of the run's clock
  double timeout_s = 600;         // of an exchange

  double now_s() const { return std::chrono::duration<double>(SteadyClock::now() - epoch).count(); }
  // The path of an endpoint below the base URL's.
  std::string path(std::string_view endpoint) const;
};

// Errors: a name without addresses, a URL that TLS is not possible for.
Result<Target> make_target(const LoadOptions& options);

// The body of a GET. Errors: no connection, another status than 200.
net::awaitable<Result<std::string>> get(const Target& target, std::string path);
// Begins, feeds and ends the measurement. The error says why an exchange failed.
net::awaitable<Status> post(const Target& target, std::string path, std::string body,
                            Measurement& measurement);
net::awaitable<Status> converse(const Target& target, std::string path, RealtimeScript script,
                                Measurement& measurement);

}  // namespace tutti::bench
