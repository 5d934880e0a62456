#include "serve/gateway.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/seed.h"
#include "base/thread.h"

namespace tutti::serve {

std::string new_id(std::string_view prefix) {
  return fmt::format("{}-{:016x}{:08x}", prefix, draw_seed(), static_cast<uint32_t>(draw_seed()));
}

Status shutting_down() { return unavailable("The server is shutting down.").with_retry_after(5); }

Gateway::Gateway(AsyncOmniEngine& engine, size_t most_open)
    : engine_(engine), most_open_(most_open), thread_([this] { pump(); }) {}

Gateway::~Gateway() {
  engine_.shutdown();  // which ends the thread's wait
  thread_.join();
}

void Gateway::submit(AddRequest request, std::shared_ptr<RequestSink> sink) {
  if (draining_.load()) {
    return sink->on_error(shutting_down());
  }
  const std::string id = request.request_id;
  bool room = true;
  {
    const std::lock_guard lock(mutex_);
    room = !request.resumable || open_.size() < most_open_;
    if (room) sinks_.emplace(id, sink);
    if (room && request.resumable) open_.insert(id);
  }
  if (!room) return sink->on_error(resource_exhausted("Too many requests wait for their input."));
  engine_.add_request_async(std::move(request), [this, id](Status status) {
    if (status.ok()) return;
    if (auto refused = find(id, /*terminal=*/true)) refused->on_error(status);
  });
}

void Gateway::update(StreamingUpdate update, std::function<void(const Status&)> done) {
  if (!update.resumable) {
    const std::lock_guard lock(mutex_);
    open_.erase(update.request_id);
  }
  engine_.add_streaming_update_async(std::move(update), std::move(done));
}

void Gateway::abort(const std::string& request_id) {
  const Status status = engine_.abort({request_id});
  if (!status.ok()) spdlog::warn("aborting {}: {}", request_id, status.message());
}

int64_t Gateway::live() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(sinks_.size());
}

bool Gateway::drain(double timeout_s) {
  draining_.store(true);
  std::unordered_set<std::string> open;
  {
    const std::lock_guard lock(mutex_);
    open.swap(open_);
  }
  for (const std::string& id : open) abort(id);
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, std::chrono::duration<double>(timeout_s),
                         [&] { return sinks_.empty(); });
}

std::shared_ptr<RequestSink> Gateway::find(const std::string& request_id, bool terminal) {
  const std::lock_guard lock(mutex_);
  const auto found = sinks_.find(request_id);
  if (found == sinks_.end()) return nullptr;
  std::shared_ptr<RequestSink> sink = found->second;
  if (terminal) {
    sinks_.erase(found);
    open_.erase(request_id);
    ended_.notify_all();
  }
  return sink;
}

void Gateway::pump() {
  set_thread_name("gateway");
  constexpr double kLong_s = 3600;  // an engine that is shut down ends the wait
  for (;;) {
    Result<std::optional<EngineMessage>> message = engine_.try_get_output(kLong_s);
    if (!message.ok()) return fail_all(message.error());
    if (!*message) continue;
    const std::lock_guard lock(dispatching_);
    try {
      dispatch(**message);
    } catch (const std::exception& e) {
      spdlog::error("handling an output failed: {}", e.what());
      const std::string id = std::visit([](const auto& m) { return m.request_id; }, **message);
      if (auto sink = find(id, /*terminal=*/true)) {
        abort(id);
        sink->on_error(internal_error("The server failed to handle an output of the model."));
      }
    }
  }
}

void Gateway::dispatch(const EngineMessage& message) {
  if (const auto* output = std::get_if<OutputMessage>(&message)) {
    if (auto sink = find(output->request_id, output->finished)) sink->on_output(*output);
  } else if (const auto* metrics = std::get_if<StageMetricsMessage>(&message)) {
    if (auto sink = find(metrics->request_id, false)) sink->on_stage_metrics(*metrics);
  } else {
    const auto& error = std::get<ErrorMessage>(message);
    if (error.request_id.empty()) {
      spdlog::error("the engine: {}", error.error.message());
    } else if (auto sink = find(error.request_id, true)) {
      sink->on_error(error.error);
    }
  }
}

void Gateway::fail_all(const Status& error) {
  std::unordered_map<std::string, std::shared_ptr<RequestSink>> left;
  {
    const std::lock_guard lock(mutex_);
    left.swap(sinks_);
    ended_.notify_all();
  }
  // The gateway's thread finds none of them any more, but may still be in one.
  {
    const std::lock_guard lock(dispatching_);
  }
  for (auto& [id, sink] : left) sink->on_error(error);
}

}  // namespace tutti::serve
