#include "serve/reading.h"

#include <fmt/format.h>

#include <utility>

#include "serve/text_answer.h"

namespace tutti::serve {

void Reading::begin(Delta delta, Done done) {
  delta_ = std::move(delta);
  done_ = std::move(done);
  next();
}

void Reading::abandon() {
  std::string running;
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    running = running_;
  }
  if (!running.empty()) services_.gateway.abort(running);
}

void Reading::next() {
  const std::string id = fmt::format("{}-{}", id_, sentence_);
  // finish() may call abandon(), so it comes without the lock.
  if (!set_running(id)) return finish({StatusCode::kAborted, "Nobody listens any more."});
  Result<AddRequest> request = sentence_request(services_.model, speech_, sentence_, id);
  if (!request) return finish(request.error());
  request->trace_headers = trace_;
  auto self = shared_from_this();
  services_.gateway.submit(
      std::move(request).value(),
      std::make_shared<TextAnswer>(
          services_, [self](const OutputMessage& message) { self->delta_(message); },
          [self](const Status& status, const Answer& answer) { self->ended(status, answer); }));
  // Who left in between aborted a request that was not there yet.
  if (is_abandoned()) services_.gateway.abort(id);
}

bool Reading::is_abandoned() {
  const std::lock_guard lock(mutex_);
  return abandoned_;
}

bool Reading::set_running(const std::string& id) {
  const std::lock_guard lock(mutex_);
  if (!abandoned_) running_ = id;
  return !abandoned_;
}

void Reading::ended(const Status& status, const Answer& answer) {
  usage_.add(answer, services_.model);
  if (!status.ok() || ++sentence_ == speech_.sentences.size()) return finish(status);
  next();
}

void Reading::finish(const Status& status) {
  const Done done = std::exchange(done_, nullptr);
  delta_ = nullptr;
  done(status, usage_);
}

}  // namespace tutti::serve
