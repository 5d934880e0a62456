// Notices that a client has gone while nothing is read from it. One of the server's own files.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace tutti::serve {

// Returns when the peer has closed its side. Nothing is read: a next request stays in the socket.
boost::asio::awaitable<void> watch_disconnect(boost::asio::ip::tcp::socket& socket);

}  // namespace tutti::serve
