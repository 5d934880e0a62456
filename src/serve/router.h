// Router: from method and path to a handler, with the checks that hold everywhere: the page's
// origin, the key, the method, the path, the type of the body.
//
// Thread: built by one; then any.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tutti/status.h"

#include "serve/http.h"
#include "serve/origin_check.h"

namespace tutti::serve {

class Router {
 public:
  // Requests to paths below /v1 and others marked so need one of these as bearer token; none: open.
  void set_api_keys(std::vector<std::string> keys) { api_keys_ = std::move(keys); }
  // Which pages may call; at first only their own server's, by any name.
  void set_origins(OriginRules rules) { origins_ = OriginCheck(std::move(rules)); }

  enum class Access : uint8_t { kKey, kOpen };
  // Of what a POST brings. A page can send a form anywhere without asking, JSON it cannot.
  enum class Body : uint8_t { kJson, kForm };
  // `pattern`: "/v1/models/{}"; each {} takes one path segment, {*} the rest.
  void add(std::string method, std::string pattern, HttpHandler handler,
           Access access = Access::kKey, Body body = Body::kJson);
  void add_websocket(std::string pattern, WebSocketAcceptor acceptor);

  // What to do with a request of which only the head has been read: nothing (OK), or the answer.
  // Fills path_params.
  struct Match {
    const HttpHandler* handler = nullptr;
    const WebSocketAcceptor* acceptor = nullptr;
    HttpResponse refusal;  // when both are null
  };
  Match match(HttpRequest& head, bool upgrade) const;
  // Every route as "GET /v1/models/{*}"; a WebSocket's is a GET.
  std::vector<std::string> routes() const;
  // Adds the CORS headers that the request's origin may see.
  void decorate(const HttpRequest& head, Headers& headers) const {
    origins_.decorate(head, headers);
  }

 private:
  struct Route {
    std::vector<std::string> segments;
    std::map<std::string, HttpHandler> handlers;  // by method
    WebSocketAcceptor acceptor;
    Access access = Access::kKey;
    Body body = Body::kJson;
  };
  Route& route(std::string_view pattern);
  static HttpResponse refuse(const Status& status, int code);
  static bool fits(const Route& route, const std::vector<std::string_view>& segments,
                   std::vector<std::string>* params);
  const Route* find(HttpRequest& head) const;
  bool key_fits(const HttpRequest& head) const;
  // Of a request that a handler would take: what is wrong with its head; OK: nothing.
  Status check_body(const Route& route, const HttpRequest& head) const;

  std::vector<Route> routes_;
  std::map<std::string, size_t, std::less<>> exact_;  // patterns without {}
  std::vector<std::string> api_keys_;
  OriginCheck origins_;
};

}  // namespace tutti::serve
