#include "serve/playground.h"

#include <fmt/format.h>

#include "serve/assets.h"

namespace tutti::serve {
namespace {

std::string_view content_type(std::string_view path) {
  const std::string_view extension = path.substr(path.rfind('.') + 1);
  if (extension == "html") return "text/html; charset=utf-8";
  if (extension == "js") return "text/javascript; charset=utf-8";
  if (extension == "css") return "text/css; charset=utf-8";
  if (extension == "svg") return "image/svg+xml";
  if (extension == "json") return "application/json";
  return "application/octet-stream";
}

void send_asset(const Asset& asset, const HttpRequest& request, const HttpReplyPtr& reply) {
  HttpResponse response;
  response.content_type = content_type(asset.path);
  response.headers = {
      {"ETag", std::string(asset.etag)},
      {"Cache-Control", "no-cache"},
      {"X-Content-Type-Options", "nosniff"},
      {"Content-Security-Policy",
       "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
       "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"}};
  if (request.header("if-none-match") == asset.etag) {
    response.status = 304;
  } else {
    response.body = asset.bytes;
  }
  reply->send(std::move(response));
}

}  // namespace

void add_playground_routes(Router& router) {
  for (const Asset& asset : embedded_assets()) {
    const auto handler = [&asset](HttpRequest request, HttpReplyPtr reply) {
      send_asset(asset, request, reply);
    };
    router.add("GET", fmt::format("/{}", asset.path), handler, Router::Access::kOpen);
    if (asset.path == "index.html") router.add("GET", "/", handler, Router::Access::kOpen);
  }
}

}  // namespace tutti::serve
