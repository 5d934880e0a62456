// Media behind http:// and https:// URLs: fetched from hosts that the operator allows, and never
// from an address inside the operator's own network.
//
// Thread: free functions, any thread; they wait for the network. Errors are sentences without the
// item's name.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

namespace tutti {

// An IPv6 address in network order; IPv4 as ::ffff:a.b.c.d.
using IpAddress = std::array<uint8_t, 16>;

// Whether an address belongs to the public network: not private, loopback, link-local, shared,
// multicast, reserved, unspecified or a way to write one of these in IPv6 (mapped, NAT64, 6to4).
bool is_public_address(const IpAddress& address);

struct UrlPolicy {
  std::vector<std::string> allowed_domains;  // these hosts and their subdomains; empty: none
  // Of the whole fetch. A name server that does not answer is waited for as long as the system's
  // resolver does (resolv.conf), where that is longer.
  double timeout_s = 20;
  // Which addresses may be connected to; tests put another in its place.
  std::function<bool(const IpAddress&)> allowed_address = is_public_address;
};

// "a.example.org" matches the domains "a.example.org" and "example.org", in any case.
bool is_allowed_host(std::string_view host, const std::vector<std::string>& domains);

// The body of a GET. The name is resolved once, and the addresses that were checked are those
// connected to. Certificates are verified; redirects are not followed. Errors: a URL that cannot be
// read, a host or an address that is not allowed, no answer in time, an answer other than 200, a
// body past `max_bytes` or without bytes.
Result<std::vector<std::byte>> fetch_url(std::string_view url, int64_t max_bytes,
                                         const UrlPolicy& policy);

}  // namespace tutti
