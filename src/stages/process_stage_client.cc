#include "stages/process_stage_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>

#include "base/child_process.h"
#include "base/dual_queue.h"
#include "base/log.h"
#include "base/thread.h"
#include "stages/replica_core.h"

namespace tutti {
namespace {

constexpr const char* kProgram = "tutti-worker";
constexpr const char* kProgramVariable = "TUTTI_WORKER";
constexpr double kJoinTimeout_s = 10;
// A worker that has closed its socket has little left to do; one that was asked to stop may be in
// the middle of a step.
constexpr double kExitTimeout_s = 2;
constexpr double kStopTimeout_s = 30;
constexpr double kKillTimeout_s = 10;
// How often the worker's pulse is felt.
constexpr int kWatchInterval_ms =
    std::chrono::duration_cast<std::chrono::milliseconds>(WorkerPulse::kInterval).count();
// Commands with larger tensors are copied by the client's thread, not by the caller.
constexpr size_t kMostDirectTensorBytes = 16 << 10;
constexpr size_t kLastWordsBytes = 2000;

}  // namespace

struct ProcessStageClient::Shared {
  Shared(StageId s, ReplicaId r, StageEventSink to, ProcessOptions o)
      : stage(s),
        replica(r),
        options(std::move(o)),
        sink(std::move(to)),
        outbox(options.mailbox_capacity),
        wake_event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        ended(1),
        watch(options.silence_timeout_s, options.step_timeout_s) {}

  void post(StageEventBody body) {
    if (stopping.load(std::memory_order_acquire)) return;
    sink({stage, replica, std::move(body)});
  }
  void publish(const EngineStats& figures) {
    const std::lock_guard lock(mutex);
    stats = figures;
  }
  void wake() const { eventfd_write(wake_event.get(), 1); }
  std::string name() const {
    return fmt::format("The worker process of stage {}, replica {}", stage.value, replica.value);
  }

  // --- the thread
  void run();
  Status start();
  // Until the worker has ended, or stop(); why, unless it was stop().
  Status serve();
  // Whether the worker may be given up; kills it then.
  Status check_worker(TimePoint now);
  void end(Status cause);
  Result<bool> receive_all();
  Status take(FromWorker message);
  Status flush_outbox();
  void report_oversized(const StageCommand& command, Status error);
  void wait();
  void read_last_words();
  std::string last_words_clause() const;

  const StageId stage;
  const ReplicaId replica;
  const ProcessOptions options;
  const StageEventSink sink;
  DualQueue<StageCommand> outbox;
  const UniqueFd wake_event;
  std::atomic<bool> stopping{false};
  std::atomic<bool> dead{false};
  // Commands that wait in the outbox or in `front`; one more until the worker has been started. As
  // long as it is 0, the sending side of the channel is the caller's; else it is the thread's.
  std::atomic<int64_t> pending{1};
  std::unique_ptr<MessageChannel> channel;
  WireWriter direct_writer;  // the caller's
  DualQueue<int> ended;      // closed by the thread as its last act

  mutable std::mutex mutex;
  EngineStats stats;                     // guarded by mutex
  std::unique_ptr<ChildProcess> worker;  // the pointer guarded by mutex
  pid_t process = -1;                    // guarded by mutex

  // The thread's own.
  WireWriter writer;
  std::optional<StageCommand> front;
  bool full = false;
  bool accepted = false;
  bool loaded = false;
  WorkerWatch watch;
  std::optional<Status> reported_death;
  TimePoint start_limit;  // and, once accepted, that of loading
  std::string last_words;
};

// --- the caller's side

ProcessStageClient::ProcessStageClient(StageId stage, ReplicaId replica, StageEventSink sink,
                                       ProcessOptions options)
    : shared_(std::make_shared<Shared>(stage, replica, std::move(sink), std::move(options))) {
  shared_->outbox.on_room([s = shared_.get()] { s->post(RoomEvent{}); });
  thread_ = std::thread([shared = shared_] { shared->run(); });
}

ProcessStageClient::~ProcessStageClient() {
  const double wait_s = shared_->stopping.load() ? 0 : kJoinTimeout_s;
  stop();
  if (!join(Deadline::after(wait_s))) {
    spdlog::warn("{} did not end in time and is left behind", shared_->name());
    thread_.detach();
  }
}

bool ProcessStageClient::try_send(StageCommand& command) {
  Shared& s = *shared_;
  if (s.dead.load(std::memory_order_acquire)) return true;
  if (s.pending.load(std::memory_order_acquire) == 0 &&
      tensor_bytes(command) <= kMostDirectTensorBytes) {
    s.direct_writer.clear();
    encode(s.direct_writer, command);
    const auto sent = s.channel->send(s.direct_writer);
    s.direct_writer.clear();  // lets go of the tensors
    if (sent && *sent != MessageChannel::Sent::kFull) {
      StageCommand taken = std::move(command);
      return true;  // or the worker has ended, which its thread will see
    }
  }
  s.pending.fetch_add(1, std::memory_order_acq_rel);
  const QueueResult queued = s.outbox.try_push(std::move(command));
  if (queued == QueueResult::kOk) s.wake();
  if (queued == QueueResult::kFull) s.pending.fetch_sub(1, std::memory_order_acq_rel);
  return queued != QueueResult::kFull;
}

EngineStats ProcessStageClient::stats() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->stats;
}

void ProcessStageClient::stop() {
  shared_->stopping.store(true, std::memory_order_release);
  shared_->outbox.close();
  shared_->wake();
}

bool ProcessStageClient::join(Deadline deadline) {
  if (!thread_.joinable()) return true;
  shared_->ended.pop(deadline);
  if (!shared_->ended.drained()) {
    {
      const std::lock_guard lock(shared_->mutex);
      if (shared_->worker) shared_->worker->kill();
    }
    shared_->ended.pop(Deadline::after(kKillTimeout_s));
    if (!shared_->ended.drained()) return false;
  }
  thread_.join();
  return true;
}

pid_t ProcessStageClient::process_id() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->process;
}

// --- the thread's side

void ProcessStageClient::Shared::run() {
  set_thread_name(fmt::format("worker-{}-{}", stage.value, replica.value));
  Status cause;
  try {
    cause = start();
    if (cause.ok()) cause = serve();
  } catch (...) {
    cause = status_of_current_exception(name());
  }
  end(std::move(cause));
  ended.close();
}

Status ProcessStageClient::Shared::start() {
  const std::string program =
      options.program.empty() ? find_helper_program(kProgram, kProgramVariable) : options.program;
  UniqueFd other;
  TUTTI_ASSIGN_OR_RETURN(MessageChannel made, MessageChannel::create(options.channel, &other));
  channel = std::make_unique<MessageChannel>(std::move(made));
  encode(writer, ToWorker(WorkerHello{stage.value, replica.value, options.load_spec}));
  TUTTI_ASSIGN_OR_RETURN(const MessageChannel::Sent sent, channel->send(writer));
  if (sent != MessageChannel::Sent::kSent) return internal_error("The channel is full at once.");
  start_limit = Clock::steady().now() + from_seconds(options.start_timeout_s);
  if (stopping.load()) return {};
  // The arguments tell people which is which; the worker itself reads its parent's id.
  Result<ChildProcess> started = ChildProcess::start(
      program,
      {fmt::format("--parent={}", getpid()), fmt::format("--stage={}", stage.value),
       fmt::format("--replica={}", replica.value)},
      {.descriptor = other.get()});
  if (!started) {
    return std::move(started).error().with_context(fmt::format(
        "A worker process is not available (it belongs beside the program, or {} names it)",
        kProgramVariable));
  }
  const std::lock_guard lock(mutex);
  worker = std::make_unique<ChildProcess>(std::move(started).value());
  process = worker->id();
  return {};
}

Status ProcessStageClient::Shared::serve() {
  pending.fetch_sub(1, std::memory_order_acq_rel);
  TimePoint spin_end{};
  while (!stopping.load(std::memory_order_acquire)) {
    TUTTI_ASSIGN_OR_RETURN(const bool news, receive_all());
    if (reported_death) return *std::exchange(reported_death, std::nullopt);
    TUTTI_RETURN_IF_ERROR(flush_outbox());
    const TimePoint now = Clock::steady().now();
    if (news) spin_end = now + options.spin;
    if (now < spin_end) continue;
    TUTTI_RETURN_IF_ERROR(check_worker(now));
    wait();
  }
  return {};
}

Status ProcessStageClient::Shared::check_worker(TimePoint now) {
  Status given_up;
  if (!loaded && now >= start_limit) {
    given_up = deadline_exceeded(
        accepted ? fmt::format("{} was not loaded within {} s.", name(), options.load_timeout_s)
                 : fmt::format("{} did not answer within {} s of its start.", name(),
                               options.start_timeout_s));
  } else if (accepted) {
    const WorkerPulse& pulse = channel->pulse();
    given_up = watch.look(now, pulse.beats(), pulse.turns());
    if (!given_up.ok()) {
      given_up = unavailable(fmt::format("{} {} and was killed.", name(), given_up.message()));
    }
  }
  // It would not end by itself, and nobody waits for it any more.
  if (!given_up.ok() && accepted) worker->kill();
  return given_up;
}

void ProcessStageClient::Shared::wait() {
  const short socket_events =
      static_cast<short>(POLLIN | (full && channel->socket_was_full() ? POLLOUT : 0));
  std::array<pollfd, 4> events = {
      pollfd{channel->socket(), socket_events, 0},
      pollfd{wake_event.get(), POLLIN, 0},
      pollfd{worker ? worker->last_words_fd() : -1, POLLIN, 0},
      pollfd{full && !channel->socket_was_full() ? channel->room_event() : -1, POLLIN, 0},
  };
  const double start_left_s = to_seconds(start_limit - Clock::steady().now());
  const int start_left_ms = std::max(1, static_cast<int>(1e3 * start_left_s) + 1);
  const int timeout_ms = loaded     ? kWatchInterval_ms
                         : accepted ? std::min(start_left_ms, kWatchInterval_ms)
                                    : start_left_ms;
  poll(events.data(), events.size(), timeout_ms);
  if (events[1].revents != 0) {
    eventfd_t count = 0;
    eventfd_read(wake_event.get(), &count);
  }
  if (events[2].revents != 0) read_last_words();
  if (events[3].revents != 0) channel->clear_room_event();
  if ((events[0].revents & POLLOUT) != 0 || events[3].revents != 0) full = false;
}

Result<bool> ProcessStageClient::Shared::receive_all() {
  bool news = false;
  while (!reported_death) {
    MessageChannel::Message message;
    TUTTI_ASSIGN_OR_RETURN(const MessageChannel::Received received, channel->receive(message));
    if (received == MessageChannel::Received::kNothing) break;
    if (received == MessageChannel::Received::kClosed) {
      reported_death.emplace();  // how it ended is known when it is reaped
      break;
    }
    news = true;
    TUTTI_ASSIGN_OR_RETURN(FromWorker decoded,
                           decode_from_worker(message.meta, std::move(message.body)));
    TUTTI_RETURN_IF_ERROR(take(std::move(decoded)));
  }
  return news;
}

Status ProcessStageClient::Shared::take(FromWorker message) {
  if (std::holds_alternative<WorkerAccepted>(message)) {
    accepted = true;
    start_limit = Clock::steady().now() + from_seconds(options.load_timeout_s);
  } else if (const auto* progress = std::get_if<WorkerProgress>(&message)) {
    if (options.on_progress && !options.on_progress(progress->fraction, progress->what)) {
      channel->shut_down();
    }
  } else if (const auto* what = std::get_if<WorkerLoaded>(&message)) {
    loaded = true;
    publish(what->stats);
    if (options.on_loaded) options.on_loaded(*what);
    post(ReadyEvent{});
  } else {
    auto& report = std::get<WorkerReport>(message);
    publish(report.stats);
    for (StageEventBody& event : report.events) {
      if (auto* died = std::get_if<DiedEvent>(&event)) {
        reported_death = std::move(died->cause);
        return {};
      }
      post(std::move(event));
    }
  }
  return {};
}

Status ProcessStageClient::Shared::flush_outbox() {
  while (!full && pending.load(std::memory_order_acquire) > 0) {
    if (!front) front = outbox.try_pop();
    if (!front) return {};
    writer.clear();
    encode(writer, *front);
    const Result<MessageChannel::Sent> sent = channel->send(writer);
    if (sent && *sent == MessageChannel::Sent::kFull) {
      full = true;
      return {};
    }
    if (!sent) report_oversized(*front, sent.error());
    front.reset();
    writer.clear();
    pending.fetch_sub(1, std::memory_order_acq_rel);
  }
  return {};
}

// The command cannot be sent, now or later: its sequence ends, and the worker lets go of it.
void ProcessStageClient::Shared::report_oversized(const StageCommand& command, Status error) {
  const std::optional<RequestKey> key = key_of(command);
  if (!key) return;
  writer.clear();
  encode(writer, StageCommand(AbortCommand{*key}));
  (void)channel->send(writer);
  StageOutput output;
  output.key = *key;
  output.finished = true;
  output.delta.finish_reason = FinishReason::kError;
  output.error = std::move(error);
  OutputsEvent event;
  event.outputs.push_back(std::move(output));
  post(std::move(event));
}

void ProcessStageClient::Shared::read_last_words() {
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = read(worker->last_words_fd(), buffer.data(), buffer.size());
    if (got <= 0) return;
    // The worker's log is this program's log.
    [[maybe_unused]] const ssize_t wrote =
        write(STDERR_FILENO, buffer.data(), static_cast<size_t>(got));
    last_words.append(buffer.data(), static_cast<size_t>(got));
    if (last_words.size() > kLastWordsBytes) {
      last_words.erase(0, last_words.size() - kLastWordsBytes);
    }
  }
}

std::string ProcessStageClient::Shared::last_words_clause() const {
  const size_t end = last_words.find_last_not_of("\n ");
  if (end == std::string::npos) return ".";
  const size_t begin = last_words.rfind('\n', end);
  return fmt::format("; its last words were: {}",
                     last_words.substr(begin == std::string::npos ? 0 : begin + 1,
                                       end - (begin == std::string::npos ? 0 : begin + 1) + 1));
}

void ProcessStageClient::Shared::end(Status cause) {
  const bool stopped = stopping.load();
  if (channel) channel->shut_down();
  std::string how = "has closed its connection";
  if (worker) {
    // It may write to its standard error until its very end.
    Deadline limit = Deadline::after(stopped ? kStopTimeout_s : kExitTimeout_s);
    while (!worker->wait(limit.earlier(Deadline::after(0.1)))) {
      read_last_words();
      if (!limit.passed(Clock::steady().now())) continue;
      worker->kill();
      limit = Deadline::never();
    }
    read_last_words();
    how = worker->how_it_ended();
  }
  if (cause.ok()) cause = unavailable(fmt::format("{} {}{}", name(), how, last_words_clause()));
  dead.store(true, std::memory_order_release);
  outbox.close();
  {
    const std::lock_guard lock(mutex);
    worker.reset();
  }
  post(DiedEvent{std::move(cause)});
}

}  // namespace tutti
