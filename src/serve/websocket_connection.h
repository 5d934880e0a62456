// One WebSocket: takes the stream of an upgrade request over and runs its session to the end.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <memory>

#include "tutti/status.h"

#include "serve/connection.h"

namespace tutti::serve {

using UpgradeRequest = boost::beast::http::request<boost::beast::http::string_body>;

// What of an upgrade request is not as RFC 6455 has it; OK: nothing.
Status check_handshake(const HttpRequest& head);
constexpr const char* kWebSocketVersion = "13";

net::awaitable<void> run_websocket(ServerContextPtr context, boost::beast::tcp_stream stream,
                                   UpgradeRequest request,
                                   std::shared_ptr<WebSocketSession> session);
net::awaitable<void> run_websocket(ServerContextPtr context,
                                   boost::beast::ssl_stream<boost::beast::tcp_stream> stream,
                                   UpgradeRequest request,
                                   std::shared_ptr<WebSocketSession> session);

}  // namespace tutti::serve
