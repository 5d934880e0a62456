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
  if (extension == "woff2") return "font/woff2";
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

void add_asset(Router& router, const Asset& asset, std::string path) {
  router.add(
      "GET", std::move(path),
      [&asset](const HttpRequest& request, const HttpReplyPtr& reply) {
        send_asset(asset, request, reply);
      },
      Router::Access::kOpen);
}

constexpr std::string_view kDescription = "openapi.json";

}  // namespace

void add_description_route(Router& router) {
  for (const Asset& asset : embedded_assets()) {
    if (asset.path == kDescription) add_asset(router, asset, fmt::format("/{}", asset.path));
  }
}

void add_playground_routes(Router& router) {
  for (const Asset& asset : embedded_assets()) {
    if (asset.path == kDescription) continue;
    add_asset(router, asset, fmt::format("/{}", asset.path));
    if (asset.path == "index.html") add_asset(router, asset, "/");
  }
}

}  // namespace tutti::serve
