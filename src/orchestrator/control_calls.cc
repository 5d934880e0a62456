#include "orchestrator/control_calls.h"

#include <future>
#include <utility>

namespace tutti {
namespace {

uint64_t ticket_of(const RpcOutput& output) {
  return std::visit([](const auto& answer) { return answer.ticket; }, output);
}

}  // namespace

Result<RpcOutput> ControlCalls::call(TimePoint deadline, const Send& send) {
  std::promise<Result<RpcOutput>> answer;
  begin(deadline, send, [&](Result<RpcOutput> result) { answer.set_value(std::move(result)); });
  return answer.get_future().get();
}

void ControlCalls::call_async(TimePoint deadline, const Send& send, Done done) {
  begin(deadline, send, [this, done = std::move(done)](Result<RpcOutput> result) {
    pool_.post([done, result = std::move(result)]() mutable { done(std::move(result)); });
  });
}

void ControlCalls::begin(TimePoint deadline, const Send& send, Done done) {
  uint64_t ticket = 0;
  {
    std::unique_lock lock(mutex_);
    if (!closed_.ok()) {
      const Status cause = closed_;
      lock.unlock();
      done(cause);
      return;
    }
    ticket = ++last_ticket_;
    Call& call = calls_[ticket];
    call.done = std::move(done);
    if (deadline != TimePoint::max()) {
      call.timer = pool_.post_at(deadline, [this, ticket] {
        finish(ticket, deadline_exceeded("The engine did not answer in time."));
      });
    }
  }
  if (!send(ticket)) finish(ticket, unavailable("The engine has stopped."));
}

void ControlCalls::finish(uint64_t ticket, Result<RpcOutput> result) {
  Call call;
  {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(ticket);
    if (found == calls_.end()) return;
    call = std::move(found->second);
    calls_.erase(found);
  }
  if (call.timer != 0) pool_.cancel(call.timer);
  call.done(std::move(result));
}

void ControlCalls::take(RpcOutputQueue& queue) {
  while (std::optional<RpcOutput> output = queue.try_pop()) {
    const uint64_t ticket = ticket_of(*output);
    finish(ticket, std::move(*output));
  }
}

void ControlCalls::close(const Status& cause) {
  std::vector<uint64_t> open;
  {
    const std::lock_guard lock(mutex_);
    closed_ = cause;
    for (const auto& [ticket, call] : calls_) open.push_back(ticket);
  }
  for (const uint64_t ticket : open) finish(ticket, cause);
}

size_t ControlCalls::size() const {
  const std::lock_guard lock(mutex_);
  return calls_.size();
}

}  // namespace tutti
