#include "serve/disconnect.h"

#include <poll.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>

namespace tutti::serve {

namespace net = boost::asio;
using tcp = net::ip::tcp;

net::awaitable<void> watch_disconnect(tcp::socket& socket) {
  constexpr auto kUse = net::as_tuple(net::use_awaitable);
  net::steady_timer pause(socket.get_executor());
  for (;;) {
    const auto [error] = co_await socket.async_wait(tcp::socket::wait_read, kUse);
    if (error) co_return;
    pollfd state{socket.native_handle(), POLLRDHUP, 0};
    if (::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
      co_return;
    // A pipelined request (or TLS traffic) waits; it would wake us for ever.
    pause.expires_after(std::chrono::milliseconds(250));
    const auto [cancelled] = co_await pause.async_wait(kUse);
    if (cancelled) co_return;
  }
}

}  // namespace tutti::serve
