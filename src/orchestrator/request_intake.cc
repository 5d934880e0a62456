#include "orchestrator/request_intake.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <utility>

namespace tutti {
namespace {

constexpr double kRetryAfter_s = 1;

Status shutting_down() { return unavailable("The engine is shutting down."); }

Status too_much_waits() {
  return resource_exhausted("Too many inputs wait for being processed.")
      .with_retry_after(kRetryAfter_s);
}

Status unknown_request(const std::string& id) {
  return not_found(fmt::format("There is no live request with the id '{}'.", id))
      .with_param("request_id");
}

}  // namespace

RequestIntake::RequestIntake(const RequestProcessor& processor, LoraRegistry& loras,
                             LiveRequests& live, RequestQueue& requests, WorkerPool& pool,
                             int32_t max_pending_updates, Hooks hooks)
    : processor_(processor),
      loras_(loras),
      live_(live),
      requests_(requests),
      pool_(pool),
      max_pending_updates_(max_pending_updates),
      hooks_(std::move(hooks)) {}

// --- requests

Result<std::shared_ptr<RequestIntake::Adding>> RequestIntake::begin(AddRequest request) {
  if (closed_.load()) return shutting_down();
  if (request.request_id.empty()) {
    return invalid_argument("`request_id` is empty; any other string is allowed.")
        .with_param("request_id");
  }
  if (!(request.queue_timeout_s >= 0)) {
    return invalid_argument(fmt::format("`queue_timeout_s` is {}; it must be 0 or larger.",
                                        request.queue_timeout_s))
        .with_param("queue_timeout_s");
  }
  auto adding = std::make_shared<Adding>();
  adding->id = request.request_id;
  TUTTI_ASSIGN_OR_RETURN(adding->live, live_.insert(adding->id, RequestKey(next_key_.fetch_add(1)),
                                                    request.resumable));
  adding->live->turns.take();
  {
    const std::lock_guard lock(adding->live->mutex);
    adding->live->segments_given = 1;
  }
  adding->queue_deadline = Deadline::after(request.queue_timeout_s).time();
  adding->request = std::move(request);
  return adding;
}

Status RequestIntake::prepare(Adding& adding) {
  if (closed_.load()) return shutting_down();
  if (adding.request.lora_request) {
    TUTTI_RETURN_IF_ERROR(loras_.resolve(*adding.request.lora_request));
  }
  TUTTI_ASSIGN_OR_RETURN(adding.accepted, processor_.process(std::move(adding.request)));
  AcceptedRequest& accepted = *adding.accepted;
  accepted.key = adding.live->key;
  accepted.handle = adding.live->handle;
  if (!accepted.segment.last) {
    const std::lock_guard lock(adding.live->mutex);
    adding.live->answers_last = !is_silent(accepted.segment);
    adding.live->sent(accepted.segment);
    adding.live->open_role = accepted.segment.open_role;
    adding.live->sampling_params = accepted.segment.sampling_params;
    adding.live->final_output_stage_ids = accepted.final_output_stage_ids;
  }
  adding.announced = true;
  hooks_.accepted(accepted);
  return {};
}

Status RequestIntake::outcome(QueueResult result) const {
  switch (result) {
    case QueueResult::kOk:
      return {};
    case QueueResult::kFull:
      return resource_exhausted(
                 fmt::format("The request queue is full: {} requests wait.", requests_.capacity()))
          .with_retry_after(kRetryAfter_s);
    case QueueResult::kClosed:
      break;
  }
  return closed_.load() ? shutting_down() : unavailable("The engine has stopped.");
}

Status RequestIntake::settle(Adding& adding, Status status) {
  const bool enqueued = status.ok();
  if (!enqueued && adding.announced) hooks_.not_accepted(adding.live->key);
  bool abort = false;
  std::vector<std::function<void(bool)>> aborts;
  {
    const std::lock_guard lock(adding.live->mutex);
    (enqueued ? adding.live->enqueued : adding.live->ended) = true;
    abort = enqueued && adding.live->abort_wanted;
    aborts.swap(adding.live->aborts);
  }
  if (!enqueued) live_.erase(adding.id);
  for (const auto& tell : aborts) tell(enqueued);
  if (abort) hooks_.abort(adding.live->key);
  adding.live->turns.finish(0);
  return status;
}

Status RequestIntake::add(AddRequest request) {
  TUTTI_ASSIGN_OR_RETURN(const std::shared_ptr<Adding> adding, begin(std::move(request)));
  Status status = prepare(*adding);
  if (status.ok()) {
    status =
        outcome(requests_.push(std::move(adding->accepted), Deadline::at(adding->queue_deadline)));
  }
  return settle(*adding, std::move(status));
}

void RequestIntake::add_async(AddRequest request, Done done) {
  auto begun = begin(std::move(request));
  if (!begun) return done(std::move(begun).error());
  const std::shared_ptr<Adding> adding = std::move(begun).value();
  adding->done = std::move(done);
  const bool posted = pool_.try_post([this, adding] {
    Status status = prepare(*adding);
    if (status.ok()) return enqueue_or_wait(adding);
    adding->done(settle(*adding, std::move(status)));
  });
  if (!posted) adding->done(settle(*adding, closed_.load() ? shutting_down() : too_much_waits()));
}

void RequestIntake::enqueue_or_wait(const std::shared_ptr<Adding>& adding) {
  QueueResult result = QueueResult::kFull;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) result = requests_.try_push(std::move(adding->accepted));
    const bool may_wait = Clock::steady().now() < adding->queue_deadline &&
                          waiting_.size() < requests_.capacity() && !closed_.load();
    if (result == QueueResult::kFull && may_wait) {
      waiting_.push_back(adding);
      adding->timer = pool_.post_at(adding->queue_deadline, [this] { serve_waiting(); });
      return;
    }
  }
  adding->done(settle(*adding, outcome(result)));
}

// Called by the thread that made the room, the orchestrator's: only the pool takes the lock.
void RequestIntake::room() {
  pool_.post([this] { serve_waiting(); });
}

void RequestIntake::serve_waiting() {
  for (;;) {
    std::shared_ptr<Adding> adding;
    QueueResult result = QueueResult::kFull;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty()) return;
      result = requests_.try_push(std::move(waiting_.front()->accepted));
      auto settled = waiting_.begin();
      if (result == QueueResult::kFull && !closed_.load()) {
        const TimePoint now = Clock::steady().now();
        while (settled != waiting_.end() && now < (*settled)->queue_deadline) ++settled;
        if (settled == waiting_.end()) return;
      }
      adding = *settled;
      waiting_.erase(settled);
      pool_.cancel(adding->timer);
    }
    adding->done(settle(*adding, outcome(result)));
  }
}

void RequestIntake::close() {
  closed_.store(true);
  pool_.post([this] { serve_waiting(); });
}

// --- updates

Result<std::shared_ptr<RequestIntake::Updating>> RequestIntake::begin(StreamingUpdate update) {
  if (closed_.load()) return shutting_down();
  auto updating = std::make_shared<Updating>();
  updating->live = live_.find(update.request_id);
  if (!updating->live) return unknown_request(update.request_id);
  LiveRequest& live = *updating->live;
  const std::lock_guard lock(live.mutex);
  if (live.ended) return unknown_request(update.request_id);
  if (!live.session) {
    return invalid_argument(
               fmt::format("The request '{}' was not begun as resumable.", update.request_id))
        .with_param("request_id");
  }
  if (live.last_given) {
    return invalid_argument(fmt::format("The last segment of the request '{}' has been given.",
                                        update.request_id))
        .with_param("request_id");
  }
  if (live.segments_given - live.handle->segments_done.load() > max_pending_updates_) {
    return resource_exhausted(
               fmt::format("{} updates of the request '{}' wait for their turn; no more may.",
                           max_pending_updates_, update.request_id))
        .with_retry_after(kRetryAfter_s);
  }
  const auto outputs = static_cast<int32_t>(live.final_output_stage_ids.size());
  if (live.unread_answers > max_pending_updates_ * std::max(outputs, 1)) {
    return resource_exhausted(
               fmt::format("{} answers of the request '{}' wait to be read; no more may.",
                           live.unread_answers, update.request_id))
        .with_retry_after(kRetryAfter_s);
  }
  ++live.segments_given;
  updating->last = live.last_given = !update.resumable;
  updating->turn = live.turns.take();
  updating->update = std::move(update);
  return updating;
}

Status RequestIntake::send(Updating& updating) {
  LiveRequest& live = *updating.live;
  const std::string id = updating.update.request_id;
  const auto process = [&]() -> Status {
    SegmentContext began;
    {
      const std::lock_guard lock(live.mutex);
      if (live.ended) return unknown_request(id);
      began = {live.sampling_params, live.final_output_stage_ids, live.answers_last, live.open_role,
               live.tokens_used()};
    }
    if (closed_.load()) return shutting_down();
    const std::string prompt_text = std::move(updating.update.prompt_text);
    TUTTI_ASSIGN_OR_RETURN(RequestSegment segment,
                           processor_.process(std::move(updating.update), began));
    {
      const std::lock_guard lock(live.mutex);
      if (live.ended) return unknown_request(id);
      live.answers_last = !is_silent(segment);
      live.open_role = segment.open_role;
      live.sent(segment);
    }
    if (!hooks_.post({live.key, std::move(segment)})) return unavailable("The engine has stopped.");
    hooks_.updated(live.key, prompt_text);
    return {};
  };
  Status status = process();
  if (!status.ok()) {
    const std::lock_guard lock(live.mutex);
    --live.segments_given;
    if (updating.last) live.last_given = false;
  }
  live.turns.finish(updating.turn);
  return status;
}

Status RequestIntake::update(StreamingUpdate update) {
  TUTTI_ASSIGN_OR_RETURN(const std::shared_ptr<Updating> updating, begin(std::move(update)));
  std::promise<void> turn;
  updating->live->turns.when(updating->turn, [&] { turn.set_value(); });
  turn.get_future().wait();
  return send(*updating);
}

void RequestIntake::update_async(StreamingUpdate update, Done done) {
  auto begun = begin(std::move(update));
  if (!begun) return done(std::move(begun).error());
  // One update of a request is processed at a time, and max_pending_updates wait at most: work that
  // is begun in its turn need not be refused.
  const std::shared_ptr<Updating> updating = std::move(begun).value();
  updating->live->turns.when(updating->turn, [this, updating, done = std::move(done)] {
    pool_.post_work([this, updating, done] { done(send(*updating)); });
  });
}

}  // namespace tutti
