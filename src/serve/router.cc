#include "serve/router.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "serve/api_error.h"
#include "serve/api_key.h"

namespace tutti::serve {
namespace {

std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> segments;
  if (!path.empty() && path.front() == '/') path.remove_prefix(1);
  while (true) {
    const size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

Router::Route& Router::route(std::string_view pattern) {
  const bool is_exact = pattern.find('{') == std::string_view::npos;
  if (is_exact) {
    if (const auto found = exact_.find(pattern); found != exact_.end()) {
      return routes_[found->second];
    }
  }
  Route made;
  for (std::string_view segment : split_path(pattern)) made.segments.emplace_back(segment);
  for (Route& route : routes_) {
    if (route.segments == made.segments) return route;
  }
  if (is_exact) exact_.emplace(pattern, routes_.size());
  routes_.push_back(std::move(made));
  return routes_.back();
}

void Router::add(std::string method, std::string pattern, HttpHandler handler, Access access,
                 Body body) {
  Route& r = route(pattern);
  r.handlers[std::move(method)] = std::move(handler);
  r.access = access;
  r.body = body;
}

void Router::add_websocket(std::string pattern, WebSocketAcceptor acceptor) {
  route(pattern).acceptor = std::move(acceptor);
}

bool Router::fits(const Route& route, const std::vector<std::string_view>& segments,
                  std::vector<std::string>* params) {
  params->clear();
  for (size_t i = 0; i < route.segments.size(); ++i) {
    const std::string& wanted = route.segments[i];
    if (wanted == "{*}") {
      std::string rest;
      for (size_t at = i; at < segments.size(); ++at) {
        rest += at == i ? "" : "/";
        rest += segments[at];
      }
      params->push_back(std::move(rest));
      return i < segments.size();
    }
    if (i >= segments.size()) return false;
    if (wanted == "{}") {
      if (segments[i].empty()) return false;
      params->emplace_back(segments[i]);
    } else if (wanted != segments[i]) {
      return false;
    }
  }
  return segments.size() == route.segments.size();
}

bool Router::key_fits(const HttpRequest& head) const {
  const std::string_view given = api_key_of(head);
  bool fits = false;
  for (const std::string& key : api_keys_) fits |= equal_in_constant_time(given, key);
  return fits;
}

// A status that the schema's codes don't have.
HttpResponse Router::refuse(const Status& status, int code) {
  HttpResponse response = error_response(status);
  response.status = code;
  return response;
}

const Router::Route* Router::find(HttpRequest& head) const {
  if (const auto exact = exact_.find(head.path); exact != exact_.end()) {
    return &routes_[exact->second];
  }
  const std::vector<std::string_view> segments = split_path(head.path);
  for (const Route& route : routes_) {
    if (fits(route, segments, &head.path_params)) return &route;
  }
  return nullptr;
}

Status Router::check_body(const Route& route, const HttpRequest& head) const {
  const std::string type = media_type(head.header("content-type"));
  if (head.method != "POST" || route.body != Body::kJson || type.empty() ||
      type == "application/json")
    return {};
  return invalid_argument(fmt::format(
      "The body's Content-Type is '{}'; it must be application/json.", printable(type)));
}

Router::Match Router::match(HttpRequest& head, bool upgrade) const {
  Match match;
  if (const Status allowed = origins_.check(head, upgrade); !allowed.ok()) {
    match.refusal = refuse(allowed, 403);
    return match;
  }
  if (head.path == "*") {  // OPTIONS, about the server itself
    match.refusal = {.status = 204, .content_type = "", .body = "", .headers = {}};
    match.refusal.headers.emplace_back("Allow", "GET, HEAD, POST, DELETE, OPTIONS");
    return match;
  }
  const Route* found = find(head);
  if (!found) {
    match.refusal = error_response(not_found(fmt::format(
        "There is nothing at {}; /openapi.json lists what there is.", printable(head.path))));
    return match;
  }
  if (head.method == "OPTIONS" && origins_.allowed_origin(head)) {
    match.refusal = {.status = 204, .content_type = "", .body = "", .headers = {}};
    return match;
  }
  if (found->access == Access::kKey && !api_keys_.empty() && !key_fits(head)) {
    match.refusal = error_response(
        Status(StatusCode::kUnauthenticated,
               api_key_of(head).empty()
                   ? "The request has no API key; it goes into the header Authorization: Bearer."
                   : "The API key is not one that this server knows."));
    match.refusal.headers.emplace_back("WWW-Authenticate", "Bearer");
    return match;
  }
  if (upgrade && found->acceptor) {
    match.acceptor = &found->acceptor;
    return match;
  }
  // HEAD is GET without the body, which the server leaves out.
  const auto handler = found->handlers.find(head.method == "HEAD" ? "GET" : head.method);
  if (handler != found->handlers.end()) {
    if (const Status fits = check_body(*found, head); !fits.ok()) {
      match.refusal = refuse(fits, 415);
      return match;
    }
    match.handler = &handler->second;
    return match;
  }
  std::vector<std::string> allowed;
  for (const auto& [method, unused] : found->handlers) allowed.push_back(method);
  if (allowed.empty()) {
    match.refusal = refuse(
        invalid_argument(fmt::format("{} takes WebSocket connections only.", head.path)), 426);
    match.refusal.headers.emplace_back("Upgrade", "websocket");
    return match;
  }
  match.refusal =
      refuse(invalid_argument(fmt::format("{} does not take {}; it takes {}.", head.path,
                                          printable(head.method), join(allowed))),
             405);
  match.refusal.headers.emplace_back("Allow", join(allowed));
  return match;
}

std::vector<std::string> Router::routes() const {
  std::vector<std::string> out;
  for (const Route& route : routes_) {
    const std::string path = "/" + join(route.segments, "/");
    for (const auto& [method, unused] : route.handlers) out.push_back(method + " " + path);
    if (route.acceptor) out.push_back("GET " + path);
  }
  return out;
}

}  // namespace tutti::serve
