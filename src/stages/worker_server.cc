#include "stages/worker_server.h"

#include <fmt/format.h>
#include <poll.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <thread>

#include "base/child_process.h"
#include "base/log.h"
#include "base/thread.h"
#include "stages/message_channel.h"
#include "stages/replica_core.h"

namespace tutti {
namespace {

constexpr double kSetupTimeout_s = 30;
// How long it looks for the next command after a step, before it sleeps.
constexpr Duration kSpin = std::chrono::microseconds(20);
// Commands taken between two steps; more would hold up those that run.
constexpr int kMostCommands = 256;
// Reports without events, so that figures stay fresh while long prompts are computed.
constexpr double kStatsInterval_s = 0.1;

// Beats as long as the process runs, whatever its main thread does.
class PulseThread {
 public:
  explicit PulseThread(const WorkerPulse& pulse)
      : thread_([pulse](const std::stop_token& stop) {
          set_thread_name("pulse");
          std::mutex mutex;
          std::condition_variable_any ended;
          std::unique_lock lock(mutex);
          while (!stop.stop_requested()) {
            pulse.beat();
            ended.wait_for(lock, stop, WorkerPulse::kInterval, [] { return false; });
          }
        }) {}

 private:
  std::jthread thread_;
};

class WorkerServer {
 public:
  explicit WorkerServer(MessageChannel channel)
      : channel_(std::move(channel)), pulse_(channel_.pulse()), beats_(pulse_) {}

  Status run(const WorkerLoader& load) {
    TUTTI_ASSIGN_OR_RETURN(std::optional<ToWorker> first,
                           receive(Deadline::after(kSetupTimeout_s)));
    if (!first) return {};  // the parent has changed its mind
    const auto* hello = std::get_if<WorkerHello>(&*first);
    if (!hello) return internal_error("The first message of the parent is not a hello.");
    set_thread_name(fmt::format("stage-{}-{}", hello->stage, hello->replica));
    TUTTI_RETURN_IF_ERROR(send(WorkerAccepted{getpid()}));
    pulse_.begin_turn();
    Result<WorkerStage> stage = load_stage(*hello, load);
    pulse_.end_turn();
    if (!stage) return report_death(std::move(stage).error());
    ReplicaCore core(StageId(hello->stage), ReplicaId(hello->replica), stage->graph,
                     std::move(stage->engine), [&]() { return load_again(*hello, load, *stage); });
    TUTTI_RETURN_IF_ERROR(send(WorkerLoaded{stage->max_prompt_tokens, core.stats()}));
    const Status status = serve(core);
    return status;
  }

 private:
  Result<WorkerStage> load_stage(const WorkerHello& hello, const WorkerLoader& load) {
    try {
      return load(hello, [this](double fraction, const std::string& what) {
        pulse_.progress();
        return send(WorkerProgress{fraction, what}).ok() && !closed_ && !channel_.peer_has_gone();
      });
    } catch (...) {
      return status_of_current_exception(fmt::format("Loading stage {}", hello.stage));
    }
  }

  // After a sleep in which the engine was given back; nobody waits for its progress.
  Result<std::unique_ptr<StageEngine>> load_again(const WorkerHello& hello,
                                                  const WorkerLoader& load, WorkerStage& stage) {
    const auto progress = [this](double, const std::string&) {
      pulse_.progress();
      return true;
    };
    TUTTI_ASSIGN_OR_RETURN(WorkerStage again, load(hello, progress));
    stage.owner = std::move(again.owner);
    return std::move(again.engine);
  }

  Status serve(ReplicaCore& core) {
    std::vector<StageCommand> commands;
    TimePoint last_report{};
    while (!closed_) {
      commands.clear();
      TUTTI_RETURN_IF_ERROR(take_commands(core, commands));
      if (closed_) break;
      pulse_.begin_turn();
      OutputsEvent outputs;
      for (StageCommand& command : commands) core.apply(std::move(command), outputs.outputs);
      Status status;
      if (core.has_runnable_work()) status = core.step(outputs.outputs);
      WorkerReport report{.stats = core.stats(), .events = {}};
      if (!outputs.outputs.empty()) report.events.emplace_back(std::move(outputs));
      for (CommandAnswer& answer : core.take_answers()) {
        std::visit([&](auto& event) { report.events.emplace_back(std::move(event)); }, answer);
      }
      if (!status.ok()) report.events.emplace_back(DiedEvent{status});
      pulse_.end_turn();  // sending may wait for the parent, which is no fault of this side
      const TimePoint now = Clock::steady().now();
      if (!report.events.empty() || to_seconds(now - last_report) > kStatsInterval_s) {
        last_report = now;
        TUTTI_RETURN_IF_ERROR(send(std::move(report)));
      }
      if (!status.ok()) break;
    }
    return {};
  }

  Status take_commands(const ReplicaCore& core, std::vector<StageCommand>& commands) {
    const bool busy = core.has_runnable_work();
    const TimePoint spin_end = Clock::steady().now() + kSpin;
    while (static_cast<int>(commands.size()) < kMostCommands) {
      TUTTI_ASSIGN_OR_RETURN(std::optional<ToWorker> message, try_receive());
      if (closed_) return {};
      if (message) {
        auto* command = std::get_if<StageCommand>(&*message);
        if (!command) return internal_error("The parent has sent a second hello.");
        commands.push_back(std::move(*command));
      } else if (busy || !commands.empty()) {
        return {};
      } else if (Clock::steady().now() >= spin_end && !channel_.wait_readable(core.wake_at())) {
        return {};
      }
    }
    return {};
  }

  // None when nothing is there, or the channel has been closed.
  Result<std::optional<ToWorker>> try_receive() {
    MessageChannel::Message message;
    TUTTI_ASSIGN_OR_RETURN(const MessageChannel::Received received, channel_.receive(message));
    closed_ |= received == MessageChannel::Received::kClosed;
    if (received != MessageChannel::Received::kMessage) return std::optional<ToWorker>();
    TUTTI_ASSIGN_OR_RETURN(ToWorker decoded,
                           decode_to_worker(message.meta, std::move(message.body)));
    return std::optional<ToWorker>(std::move(decoded));
  }

  Result<std::optional<ToWorker>> receive(Deadline deadline) {
    if (!channel_.wait_readable(deadline)) {
      return deadline_exceeded("The parent process has said nothing in time.");
    }
    return try_receive();
  }

  // Waits for room: the parent always reads, unless it holds the worker back on purpose.
  Status send(FromWorker message) {
    writer_.clear();
    encode(writer_, message);
    while (!closed_) {
      TUTTI_ASSIGN_OR_RETURN(const MessageChannel::Sent sent, channel_.send(writer_));
      if (sent == MessageChannel::Sent::kSent) break;
      if (sent == MessageChannel::Sent::kClosed || channel_.peer_has_gone()) closed_ = true;
      if (!closed_) channel_.wait_for_room();
    }
    writer_.clear();
    return {};
  }

  Status report_death(Status cause) {
    WorkerReport report;
    report.events.emplace_back(DiedEvent{std::move(cause)});
    return send(std::move(report));
  }

  MessageChannel channel_;
  const WorkerPulse pulse_;
  const PulseThread beats_;
  WireWriter writer_;
  bool closed_ = false;
};

int fail(const Status& status) {
  spdlog::error("tutti-worker: {}", status.message());
  return 1;
}

}  // namespace

int serve_worker(UniqueFd socket, const WorkerLoader& load) {
  auto channel = MessageChannel::accept(std::move(socket), Deadline::after(kSetupTimeout_s));
  if (!channel) return fail(channel.error());
  const Status status = WorkerServer(std::move(channel).value()).run(load);
  return status.ok() ? 0 : fail(status);
}

int worker_main(int argc, char** argv, const WorkerLoader& load) {
  init_logging();
  constexpr std::string_view kParent = "--parent=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with(kParent)) continue;
    die_with_parent(static_cast<pid_t>(std::atol(word.data() + kParent.size())));
    return serve_worker(UniqueFd(kChildDescriptor), load);
  }
  return fail(
      invalid_argument("This program is started by the engine and serves one replica of a "
                       "stage; it has no use of its own."));
}

}  // namespace tutti
