#include "media/url_fetch.h"

#include <fmt/format.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <cstring>
#include <exception>

#include "base/http_url.h"
#include "base/strings.h"
#include "media/media_file.h"

namespace tutti {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using Bytes = std::vector<std::byte>;
using Response = http::response_parser<http::vector_body<uint8_t>>;

constexpr uint32_t kMostHeaderBytes = 16 * 1024;

Status unreadable_url() {
  return invalid_argument("the URL is no 'http://HOST/PATH' or 'https://HOST/PATH'");
}

IpAddress address_of(const tcp::endpoint& endpoint) {
  const asio::ip::address& address = endpoint.address();
  return address.is_v6()
             ? address.to_v6().to_bytes()
             : asio::ip::make_address_v6(asio::ip::v4_mapped, address.to_v4()).to_bytes();
}

// Prefixes that are not the public network's (IANA's special-purpose registries).
struct Block {
  std::array<uint8_t, 16> prefix;
  int bits;
};

bool is_in(const uint8_t* address, const Block& block) {
  for (int bit = 0; bit < block.bits; ++bit) {
    const int mask = 0x80 >> (bit % 8);
    if (((address[bit / 8] ^ block.prefix[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

bool is_public_v4(const uint8_t* address) {
  static constexpr std::array<Block, 15> kReserved = {{
      {{0}, 8},             // this network, unspecified
      {{10}, 8},            // private
      {{100, 64}, 10},      // shared by carriers
      {{127}, 8},           // loopback
      {{169, 254}, 16},     // link-local, metadata services
      {{172, 16}, 12},      // private
      {{192, 0, 0}, 24},    // protocol assignments
      {{192, 0, 2}, 24},    // documentation
      {{192, 88, 99}, 24},  // 6to4 relays
      {{192, 168}, 16},     // private
      {{198, 18}, 15},      // benchmarks
      {{198, 51, 100}, 24},
      {{203, 0, 113}, 24},  // documentation
      {{224}, 4},           // multicast
      {{240}, 4},           // reserved, broadcast
  }};
  return std::ranges::none_of(kReserved, [&](const Block& b) { return is_in(address, b); });
}

// The verdict of one fetch, and the body.
struct Fetched {
  Status status;
  Bytes body;
};

Status not_allowed_host(const HttpUrl& url, const UrlPolicy& policy) {
  if (policy.allowed_domains.empty()) {
    return invalid_argument(fmt::format(
        "the URL's host is '{}'; URLs are off unless the operator allows domains", url.host));
  }
  return invalid_argument(fmt::format("the URL's host is '{}'; allowed are {}", url.host,
                                      join(policy.allowed_domains)));
}

Status check_answer(const Response::value_type& answer) {
  if (answer.result() == http::status::ok) return {};
  const auto code = static_cast<unsigned>(answer.result_int());
  if (code / 100 == 3) {
    return invalid_argument(
        fmt::format("the server answers with the redirect {}; redirects are not followed", code));
  }
  return invalid_argument(
      fmt::format("the server answers with the status {}; allowed is 200", code));
}

template <typename Stream>
asio::awaitable<void> exchange(Stream& stream, const HttpUrl& url, int64_t max_bytes,
                               Fetched& out) {
  http::request<http::empty_body> request(http::verb::get, url.target, 11);
  request.set(http::field::host, url.host_header());
  request.set(http::field::user_agent, "tutti");
  request.set(http::field::accept_encoding, "identity");
  request.set(http::field::connection, "close");
  co_await http::async_write(stream, request, asio::use_awaitable);
  Response parser;
  parser.header_limit(kMostHeaderBytes);
  parser.body_limit(static_cast<uint64_t>(max_bytes));
  beast::flat_buffer buffer;
  // The header first, so that nothing is read of a body that is not wanted or too large.
  co_await http::async_read_header(stream, buffer, parser, asio::use_awaitable);
  out.status = check_answer(parser.get());
  if (!out.status.ok()) co_return;
  co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
  const std::vector<uint8_t>& body = parser.get().body();
  out.body.resize(body.size());
  if (!body.empty()) std::memcpy(out.body.data(), body.data(), body.size());
}

asio::awaitable<void> fetch(const HttpUrl& url, int64_t max_bytes, const UrlPolicy& policy,
                            Fetched& out) {
  const auto executor = co_await asio::this_coro::executor;
  tcp::resolver resolver(executor);
  const auto found = co_await resolver.async_resolve(url.host, url.port, asio::use_awaitable);
  std::vector<tcp::endpoint> endpoints;
  for (const auto& entry : found) {
    if (!policy.allowed_address(address_of(entry.endpoint()))) {
      out.status = invalid_argument(fmt::format(
          "the URL's host '{}' has an address that is not in the public network", url.host));
      co_return;
    }
    endpoints.push_back(entry.endpoint());
  }
  beast::tcp_stream tcp_stream(executor);
  co_await tcp_stream.async_connect(endpoints, asio::use_awaitable);
  if (!url.secure) {
    co_await exchange(tcp_stream, url, max_bytes, out);
    co_return;
  }
  asio::ssl::context tls(asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(tls.native_handle(), TLS1_2_VERSION);
  tls.set_default_verify_paths();
  tls.set_verify_mode(asio::ssl::verify_peer);
  beast::ssl_stream<beast::tcp_stream> stream(std::move(tcp_stream), tls);
  stream.set_verify_callback(asio::ssl::host_name_verification(url.host));
  SSL_set_tlsext_host_name(stream.native_handle(), url.host.c_str());
  co_await stream.async_handshake(asio::ssl::stream_base::client, asio::use_awaitable);
  co_await exchange(stream, url, max_bytes, out);
}

Status status_of(const std::exception_ptr& thrown, const HttpUrl& url, int64_t max_bytes) {
  try {
    std::rethrow_exception(thrown);
  } catch (const boost::system::system_error& e) {
    if (e.code() == http::error::body_limit) {
      return payload_too_large(fmt::format("the URL's content is larger than the {} allowed",
                                           human_bytes(static_cast<double>(max_bytes))));
    }
    return invalid_argument(
        fmt::format("the URL cannot be fetched from '{}': {}", url.host, e.code().message()));
  } catch (const std::exception& e) {
    return internal_error(fmt::format("the URL cannot be fetched: {}", e.what()));
  }
}

}  // namespace

bool is_public_address(const IpAddress& address) {
  const uint8_t* bytes = address.data();
  const Block mapped = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, 96};
  if (is_in(bytes, mapped)) return is_public_v4(bytes + 12);
  // Of IPv6 only global unicast, 2000::/3, less what wraps IPv4 or is for protocols and documents.
  static constexpr std::array<Block, 3> kReserved = {{
      {{0x20, 0x01, 0x00}, 23},        // protocol assignments, Teredo
      {{0x20, 0x01, 0x0D, 0xB8}, 32},  // documentation
      {{0x20, 0x02}, 16},              // 6to4
  }};
  return is_in(bytes, {{0x20}, 3}) &&
         std::ranges::none_of(kReserved, [&](const Block& b) { return is_in(bytes, b); });
}

bool is_allowed_host(std::string_view host, const std::vector<std::string>& domains) {
  std::string name = ascii_lower(host);
  if (name.ends_with('.')) name.pop_back();
  return std::ranges::any_of(domains, [&](const std::string& given) {
    const std::string domain = ascii_lower(given);
    return !domain.empty() && (name == domain || name.ends_with("." + domain));
  });
}

Result<Bytes> fetch_url(std::string_view text, int64_t max_bytes, const UrlPolicy& policy) {
  const std::optional<HttpUrl> parsed = parse_http_url(text);
  if (!parsed) return unreadable_url();
  const HttpUrl& url = *parsed;
  if (!is_allowed_host(url.host, policy.allowed_domains)) return not_allowed_host(url, policy);
  Fetched out;
  std::exception_ptr thrown;
  bool done = false;
  {
    asio::io_context io(1);
    asio::co_spawn(io, fetch(url, max_bytes, policy, out), [&](std::exception_ptr error) {
      thrown = error;
      done = true;
    });
    io.run_for(std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(policy.timeout_s)));
  }
  if (!done) {
    return deadline_exceeded(fmt::format(
        "fetching the URL took longer than the {:g} s that are allowed", policy.timeout_s));
  }
  if (thrown) return status_of(thrown, url, max_bytes);
  TUTTI_RETURN_IF_ERROR(out.status);
  TUTTI_RETURN_IF_ERROR(check_media_bytes(out.body, max_bytes));
  return std::move(out.body);
}

}  // namespace tutti
