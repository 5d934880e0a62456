// Connecting, and the sentences of what can go wrong. Included by the exchanges alone.
//
// Thread: the run's one.
#pragma once

#include <fmt/format.h>
#include <openssl/ssl.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl.hpp>

#include "apps/bench_serve/exchange.h"

namespace tutti::bench {

namespace beast = boost::beast;
constexpr auto kUse = net::as_tuple(net::use_awaitable);
using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

inline SteadyClock::duration duration(double seconds) {
  return std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
}

inline Status timed_out(const Target& target) {
  return deadline_exceeded(fmt::format(
      "The request took longer than the {:g} s that --request-timeout allows.", target.timeout_s));
}

// `what`: "The connection broke while the answer was read".
inline Status network_error(const Target& target, std::string_view what, beast::error_code error) {
  if (error == beast::error::timeout) return timed_out(target);
  return unavailable(fmt::format("{}: {}.", what, error.message()));
}

inline Status connect_error(const Target& target, beast::error_code error) {
  return network_error(target,
                       fmt::format("There is no connection to {}://{}",
                                   target.url.secure ? "https" : "http", target.url.host_header()),
                       error);
}

// Connects, TLS included. The stream's timeout is the caller's.
template <typename Stream>
net::awaitable<Status> connect(const Target& target, Stream& stream) {
  PlainStream& lowest = beast::get_lowest_layer(stream);
  const auto [error, endpoint] = co_await lowest.async_connect(target.endpoints, kUse);
  if (error) co_return connect_error(target, error);
  beast::error_code ignored;
  lowest.socket().set_option(net::ip::tcp::no_delay(true), ignored);
  if constexpr (std::is_same_v<Stream, TlsStream>) {
    SSL_set_tlsext_host_name(stream.native_handle(), target.url.host.c_str());
    const auto [refused] = co_await stream.async_handshake(net::ssl::stream_base::client, kUse);
    if (refused) co_return connect_error(target, refused);
  }
  co_return Status();
}

}  // namespace tutti::bench
