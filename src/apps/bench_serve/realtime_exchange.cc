#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include "apps/bench_serve/answer_reader.h"
#include "apps/bench_serve/connection.h"

namespace tutti::bench {

namespace websocket = beast::websocket;
using net::experimental::awaitable_operators::operator||;

namespace {

constexpr size_t kMostMessageBytes = 64 << 20;

template <typename Stream>
class Conversation {
 public:
  Conversation(const Target& target, Stream stream, Measurement& measurement)
      : target_(target), socket_(std::move(stream)), measurement_(measurement) {}

  net::awaitable<Status> run(std::string path, RealtimeScript script) {
    measurement_.begin(target_.now_s());  // of a failure before the clock starts
    Status status = co_await open(std::move(path));
    if (status.ok()) status = co_await send(script.setup);
    if (status.ok()) status = co_await read_until(RealtimeReader::Event::kSessionUpdated);
    if (status.ok()) status = co_await speak(script.sound);
    measurement_.begin(target_.now_s());
    for (const std::string& event : script.commit) {
      if (status.ok()) status = co_await send(event);
    }
    if (status.ok()) status = co_await read_until(RealtimeReader::Event::kDone);
    if (!status.ok()) co_return status;
    measurement_.end(target_.now_s());
    const auto [ignored] = co_await socket_.async_close(websocket::close_code::normal, kUse);
    (void)ignored;
    co_return Status();
  }

 private:
  net::awaitable<Status> open(std::string path) {
    auto limits = websocket::stream_base::timeout::suggested(beast::role_type::client);
    limits.idle_timeout = websocket::stream_base::none();  // the exchange has a deadline of its own
    socket_.set_option(limits);
    socket_.read_message_max(kMostMessageBytes);
    const Status connected = co_await connect(target_, socket_.next_layer());
    if (!connected.ok()) co_return connected;
    socket_.set_option(websocket::stream_base::decorator([this](websocket::request_type& request) {
      for (const auto& [name, value] : target_.headers) request.set(name, value);
    }));
    websocket::response_type response;
    const auto [error] =
        co_await socket_.async_handshake(response, target_.url.host_header(), path, kUse);
    if (error == websocket::error::upgrade_declined) {
      co_return internal_error(
          fmt::format("HTTP {}: {}", response.result_int(), error_sentence(response.body())));
    }
    if (error) co_return network_error(target_, "The server opened no WebSocket", error);
    co_return Status();
  }

  net::awaitable<Status> send(const std::string& event) {
    const auto [error, count] = co_await socket_.async_write(net::buffer(event), kUse);
    if (error) co_return network_error(target_, "An event could not be sent", error);
    co_return Status();
  }

  // As a microphone: each piece when it has been spoken.
  net::awaitable<Status> speak(const std::vector<std::string>& sound) {
    net::steady_timer pace(socket_.get_executor());
    SteadyClock::time_point next = SteadyClock::now();
    for (const std::string& event : sound) {
      next += std::chrono::milliseconds(kSoundEvent_ms);
      pace.expires_at(next);
      const auto [cancelled] = co_await pace.async_wait(kUse);
      (void)cancelled;
      const Status sent = co_await send(event);
      if (!sent.ok()) co_return sent;
    }
    co_return Status();
  }

  net::awaitable<Status> read_until(RealtimeReader::Event wanted) {
    for (;;) {
      const auto [error, count] = co_await socket_.async_read(buffer_, kUse);
      if (error) co_return network_error(target_, "The socket broke off", error);
      const auto data = buffer_.data();
      const std::string_view message(static_cast<const char*>(data.data()), data.size());
      const auto event = reader_.read(message, target_.now_s(), measurement_);
      if (!event.ok()) co_return event.error();
      buffer_.consume(buffer_.size());
      if (*event == wanted) co_return Status();
    }
  }

  const Target& target_;
  websocket::stream<Stream> socket_;
  Measurement& measurement_;
  beast::flat_buffer buffer_;
  RealtimeReader reader_;
};

template <typename Stream>
net::awaitable<Status> run(const Target& target, Stream stream, std::string path,
                           RealtimeScript script, Measurement& measurement) {
  net::steady_timer deadline(co_await net::this_coro::executor, duration(target.timeout_s));
  Conversation<Stream> conversation(target, std::move(stream), measurement);
  const auto outcome =
      co_await (conversation.run(std::move(path), std::move(script)) || deadline.async_wait(kUse));
  co_return outcome.index() == 0 ? std::get<0>(outcome) : timed_out(target);
}

}  // namespace

net::awaitable<Status> converse(const Target& target, std::string path, RealtimeScript script,
                                Measurement& measurement) {
  const auto executor = co_await net::this_coro::executor;
  if (target.tls) {
    co_return co_await run(target, TlsStream(executor, *target.tls), std::move(path),
                           std::move(script), measurement);
  }
  co_return co_await run(target, PlainStream(executor), std::move(path), std::move(script),
                         measurement);
}

}  // namespace tutti::bench
