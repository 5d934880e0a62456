// OriginCheck: which pages may use the server from a browser. A browser says where a page is from
// (Origin) and which name it has looked up for the server (Host); other clients leave Origin out.
//
// Thread: built by one; then any.
#pragma once

#include <string>
#include <vector>

#include "tutti/status.h"

#include "serve/http.h"

namespace tutti::serve {

struct OriginRules {
  std::vector<std::string> cors_origins = {};  // whose pages may call; "*": all
  bool tls = false;                            // the server's own scheme
  // The address the server listens on; empty: requests may name it as they like.
  std::string host = {};
};

class OriginCheck {
 public:
  OriginCheck() = default;
  explicit OriginCheck(OriginRules rules);

  // Error: the page is of an origin that may not call, or Host is a name that somebody else gave
  // this machine (DNS rebinding makes his page the server's own). Reading alone needs no leave: a
  // browser keeps what it gets from the page. `upgrade`: a WebSocket, which it does not keep.
  Status check(const HttpRequest& head, bool upgrade) const;
  // As --cors-origin has it; null for pages that may not read answers, and for what is no page.
  const std::string* allowed_origin(const HttpRequest& head) const;
  // The headers by which the browser lets the page read the answer.
  void decorate(const HttpRequest& head, Headers& headers) const;

 private:
  Status check_host(std::string_view host) const;

  OriginRules rules_;
  std::vector<std::string> hosts_;  // names that Host may have; empty: any
};

}  // namespace tutti::serve
