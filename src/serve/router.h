// Router: from method and path to a handler, with the checks that hold everywhere: the key, the
// method, the path.
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

namespace tutti::serve {

class Router {
 public:
  // Requests to paths below /v1 and others marked so need one of these as bearer token; none: open.
  void set_api_keys(std::vector<std::string> keys) { api_keys_ = std::move(keys); }
  // Origins whose pages may call (Access-Control-Allow-Origin); empty: none, "*": all.
  void set_cors_origins(std::vector<std::string> origins) { cors_origins_ = std::move(origins); }

  enum class Access : uint8_t { kKey, kOpen };
  // `pattern`: "/v1/models/{}"; each {} takes one path segment, {*} the rest.
  void add(std::string method, std::string pattern, HttpHandler handler,
           Access access = Access::kKey);
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
  void decorate(const HttpRequest& head, Headers& headers) const;

 private:
  struct Route {
    std::vector<std::string> segments;
    std::map<std::string, HttpHandler> handlers;  // by method
    WebSocketAcceptor acceptor;
    Access access = Access::kKey;
  };
  Route& route(std::string_view pattern);
  static bool fits(const Route& route, const std::vector<std::string_view>& segments,
                   std::vector<std::string>* params);
  bool key_fits(const HttpRequest& head) const;
  const std::string* allowed_origin(const HttpRequest& head) const;

  std::vector<Route> routes_;
  std::map<std::string, size_t, std::less<>> exact_;  // patterns without {}
  std::vector<std::string> api_keys_;
  std::vector<std::string> cors_origins_;
};

}  // namespace tutti::serve
