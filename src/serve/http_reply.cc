#include "serve/http_reply.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/status.hpp>

#include "serve/http_date.h"

namespace tutti::serve {

Reply::Reply(ServerContextPtr context, net::any_io_executor strand, Request request)
    : context_(std::move(context)),
      strand_(std::move(strand)),
      request_(std::move(request)),
      signal_(strand_) {}

void Reply::append_head(const HttpResponse& response, bool streamed) {
  const auto status = static_cast<boost::beast::http::status>(response.status);
  const auto reason = boost::beast::http::obsolete_reason(status);
  fmt::format_to(std::back_inserter(outbox_), "HTTP/1.1 {} {}\r\n", response.status,
                 std::string_view(reason.data(), reason.size()));
  const auto header = [&](std::string_view name, std::string_view value) {
    outbox_.append(name).append(": ").append(value).append("\r\n");
  };
  header("Date", http_date_now());
  if (!response.content_type.empty()) header("Content-Type", response.content_type);
  for (const auto& [name, value] : response.headers) header(name, value);
  for (const auto& [name, value] : request_.extra_headers) header(name, value);
  constexpr int kNoContent = 204;
  if (!streamed) {
    if (response.status != kNoContent)  // RFC 9110, 8.6
      header("Content-Length", std::to_string(response.body.size()));
  } else if (request_.chunked) {
    header("Transfer-Encoding", "chunked");
  } else {
    request_.keep_alive = false;  // the end of the connection is the end of the body
  }
  header("Connection", request_.keep_alive ? "keep-alive" : "close");
  outbox_.append("\r\n");
}

void Reply::append_piece(std::string_view piece) {
  if (piece.empty() || request_.head) return;
  if (!request_.chunked) {
    outbox_.append(piece);
    return;
  }
  fmt::format_to(std::back_inserter(outbox_), "{:x}\r\n", piece.size());
  outbox_.append(piece).append("\r\n");
}

void Reply::send(HttpResponse response) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kFresh) return;
  append_head(response, /*streamed=*/false);
  if (!request_.head) outbox_.append(response.body);
  state_ = State::kEnded;
  wake();
}

void Reply::begin(HttpResponse head) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kFresh) return;
  append_head(head, /*streamed=*/true);
  append_piece(head.body);
  state_ = State::kStreaming;
  wake();
}

bool Reply::write(std::string_view piece) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kStreaming) return false;
  append_piece(piece);
  if (static_cast<int64_t>(outbox_.size()) > context_->options.max_unread_bytes) {
    outbox_.clear();
    outbox_.shrink_to_fit();
    request_.keep_alive = false;
    broken_ = true;
    state_ = State::kGone;
    // Apart from this call, whose caller may hold what the function needs.
    if (gone_) net::post(strand_, std::exchange(gone_, nullptr));
    wake();
    return false;
  }
  wake();
  return true;
}

void Reply::end() {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kStreaming) return;
  if (request_.chunked && !request_.head) outbox_.append("0\r\n\r\n");
  state_ = State::kEnded;
  wake();
}

void Reply::break_off() {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kStreaming) return;
  request_.keep_alive = false;
  broken_ = true;
  state_ = State::kEnded;
  wake();
}

void Reply::on_disconnect(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kGone) {
      gone_ = std::move(gone);
      return;
    }
  }
  gone();
}

// Under the lock. One post for all that gathers until the strand looks.
void Reply::wake() {
  if (std::exchange(wake_posted_, true)) return;
  net::post(strand_, [self = shared_from_this()] { self->signal_.cancel(); });
}

net::awaitable<Reply::Piece> Reply::next() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      wake_posted_ = false;
      if (!outbox_.empty() || state_ == State::kEnded || state_ == State::kGone) {
        Piece piece{std::exchange(outbox_, {}), state_ == State::kEnded || state_ == State::kGone};
        if (piece.ended) gone_ = nullptr;
        co_return piece;
      }
    }
    // Between the look above and the wait below the strand runs nothing else: no wake is missed.
    signal_.expires_at(std::chrono::steady_clock::time_point::max());
    const auto [cancelled] = co_await signal_.async_wait(net::as_tuple(net::use_awaitable));
    (void)cancelled;
  }
}

bool Reply::needs_reset() {
  const std::lock_guard lock(mutex_);
  return broken_ && !request_.chunked;
}

bool Reply::is_complete() {
  const std::lock_guard lock(mutex_);
  return state_ == State::kEnded;
}

void Reply::client_gone() {
  std::function<void()> gone;
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kEnded && outbox_.empty()) return;
    state_ = State::kGone;
    outbox_.clear();
    gone = std::exchange(gone_, nullptr);
  }
  if (gone) gone();
}

}  // namespace tutti::serve
