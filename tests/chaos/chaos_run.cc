#include "chaos_run.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "tutti/async_omni_engine.h"

namespace tutti::chaos {
namespace {

using Clock = std::chrono::steady_clock;

// A message of a slow client is read so long after it could have been.
constexpr std::chrono::milliseconds kSlowRead{3};
// What the allocator and the engine's caches may keep.
constexpr int64_t kMemorySlack = int64_t{48} << 20;

struct Client {
  bool slow = false;
  int32_t abort_after = -1;  // messages; -1: never
  int32_t messages = 0;
  int32_t terminals = 0;
  int32_t segments_left = 0;  // of a session
  bool abort_sent = false;
};

class Run {
 public:
  explicit Run(const ChaosOptions& options)
      : options_(options),
        random_(options.seed),
        end_(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                std::chrono::duration<double>(options.timeout_s))) {}

  ChaosReport operator()() {
    const auto begin = Clock::now();
    std::thread([] {}).join();  // sanitizers begin a thread of their own beside the first one
    report_.before = holdings();
    {
      auto engine = create();
      if (engine) {
        const std::string answer = ask("before");
        // Fills the caches first, so that what they hold is not taken for a leak.
        serve(3 * options_.concurrency, /*chaos=*/false);
        wait_until_whole();
        report_.loaded = holdings();
        report_.accepted = report_.finished = report_.aborted = report_.failed = 0;
        serve(options_.num_requests, /*chaos=*/true);
        wait_until_whole();
        if (ask("after") != answer) violation("the same question has another answer afterwards");
        report_.after = holdings();
        report_.retried = engine_->stats().retried;
      }
    }
    report_.closed = holdings();
    check_holdings();
    report_.duration_s = std::chrono::duration<double>(Clock::now() - begin).count();
    return std::move(report_);
  }

 private:
  void violation(std::string sentence) { report_.violations.push_back(std::move(sentence)); }
  bool late() const { return Clock::now() > end_; }
  int32_t draw(int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(random_);
  }

  std::unique_ptr<AsyncOmniEngine> create() {
    EngineOptions options;
    options.stages.resize(3);
    for (StageOptions& stage : options.stages) {
      stage.worker_process = true;
      stage.num_replicas = options_.num_replicas;
    }
    options.kv_cache_bytes = int64_t{8} << 20;  // small enough to be filled
    options.output_queue_size = 64;
    options.request_queue_size = options_.concurrency;
    options.max_retries = 3;
    auto engine = AsyncOmniEngine::create(options_.model, options);
    if (!engine) {
      violation("the engine does not start: " + engine.error().message());
      return nullptr;
    }
    engine_ = engine->get();
    report_.kills.resize(static_cast<size_t>(engine_->num_stages()));
    return std::move(*engine);
  }

  AddRequest request(const std::string& id, int32_t words) const {
    AddRequest out;
    out.request_id = id;
    ChatPrompt chat;
    chat.messages.push_back(ChatMessage::text("user", "What is a river?"));
    out.prompt = chat;
    out.sampling_params_list = engine_->default_sampling_params_list();
    for (SamplingParams& params : out.sampling_params_list) params.seed = 7;
    out.sampling_params_list[0].temperature = 0;
    out.sampling_params_list[0].max_tokens = words;
    out.sampling_params_list[1].max_tokens = 4 * words;
    return out;
  }

  // One request without any trouble; its text and the number of its samples.
  std::string ask(const std::string& id) {
    const Status added = engine_->add_request(request(id, 12));
    if (!added.ok()) {
      violation("a request is refused in peace: " + added.message());
      return "";
    }
    std::string text;
    size_t samples = 0;
    while (!late()) {
      auto message = engine_->try_get_output(1);
      if (!message) {
        violation("the engine has stopped: " + message.error().message());
        return "";
      }
      if (!*message) continue;
      if (const auto* error = std::get_if<ErrorMessage>(&**message)) {
        if (error->request_id != id) continue;
        violation("a request fails in peace: " + error->error.message());
        return "";
      }
      const auto* output = std::get_if<OutputMessage>(&**message);
      if (!output || output->request_id != id) continue;
      text += output->output.text;
      samples += output->output.audio.samples.size();
      if (output->finished) return fmt::format("{} | {} samples", text, samples);
    }
    violation("a request does not end");
    return "";
  }

  // Every replica of every stage is ready and a worker runs for it.
  void wait_until_whole() {
    const size_t expected =
        static_cast<size_t>(engine_->num_stages()) * static_cast<size_t>(options_.num_replicas);
    while (!late()) {
      size_t ready = 0;
      for (const StagePoolInfo& pool : engine_->stage_pools()) {
        ready += static_cast<size_t>(std::ranges::count(
            pool.replicas, std::string("ready"), [](const ReplicaInfo& r) { return r.state; }));
      }
      if (ready == expected && children().size() == expected) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    violation("not every replica has come back");
  }

  void serve(int32_t num_requests, bool chaos) {
    begun_ = ended_ = 0;
    while (!late() && (begun_ < num_requests || live_ > 0)) {
      while (begun_ < num_requests && live_ < options_.concurrency && begin_one(chaos)) {
      }
      if (chaos) kill_when_due();
      auto message = engine_->try_get_output(0.05);
      if (!message) return violation("the engine has stopped: " + message.error().message());
      if (*message) take(**message);
    }
    if (live_ > 0) violation(fmt::format("{} requests have not ended", live_));
    // Nothing may follow.
    for (int i = 0; i < 20; ++i) {
      auto message = engine_->try_get_output(0.02);
      if (message && *message) take(**message);
    }
    for (const auto& [id, client] : clients_) {
      if (client.terminals != 1) {
        violation(fmt::format("'{}' has {} terminal messages", id, client.terminals));
      }
    }
    if (!chaos && report_.finished != num_requests) {
      violation(fmt::format("{} of {} requests finish in peace", report_.finished, num_requests));
    }
    if (chaos && killed_ != options_.num_kills) {
      violation(fmt::format("{} workers were killed instead of {}", killed_, options_.num_kills));
    }
  }

  // False when the engine has no room now.
  bool begin_one(bool chaos) {
    const std::string id = fmt::format("{}-{}", chaos ? "chaos" : "peace", begun_);
    Client client;
    if (chaos) {
      client.abort_after = draw(0, 1) == 1 ? draw(0, 12) : -1;
      client.slow = draw(0, 3) == 0;
      client.segments_left = draw(0, 2) == 0 ? draw(1, 3) : 0;
    }
    AddRequest one = request(id, draw(4, 24));
    one.resumable = client.segments_left > 0;
    const Status added = engine_->add_request(std::move(one));
    if (added.code() == StatusCode::kResourceExhausted ||
        added.code() == StatusCode::kUnavailable) {
      return false;
    }
    ++begun_;
    if (!added.ok()) {
      violation(fmt::format("'{}' was refused: {}", id, added.message()));
      return true;
    }
    ++report_.accepted;
    ++live_;
    Client& mine = clients_[id] = client;
    if (mine.abort_after == 0) abort(id, mine);
    return true;
  }

  void abort(const std::string& id, Client& client) {
    client.abort_sent = true;
    (void)engine_->abort({id});
  }

  void take(const EngineMessage& message) {
    std::string id;
    bool terminal = false;
    if (const auto* output = std::get_if<OutputMessage>(&message)) {
      id = output->request_id;
      terminal = output->finished;
    } else if (const auto* error = std::get_if<ErrorMessage>(&message)) {
      if (error->fatal) violation("a fatal error: " + error->error.message());
      id = error->request_id;
      terminal = !id.empty();
    } else {
      return;
    }
    const auto found = clients_.find(id);
    if (found == clients_.end()) return violation(fmt::format("a message of nobody, '{}'", id));
    Client& client = found->second;
    if (client.terminals > 0) violation(fmt::format("'{}' goes on after its end", id));
    ++client.messages;
    if (client.slow) {
      ++report_.slow_messages;
      std::this_thread::sleep_for(kSlowRead);
    }
    if (terminal) {
      end(message, client);
    } else if (client.segments_left > 0 && !client.abort_sent && answer_is_whole(message)) {
      go_on(id, client);
    } else if (!client.abort_sent && client.messages == client.abort_after) {
      abort(id, client);
    }
  }

  // Speech is the last of an answer.
  bool answer_is_whole(const EngineMessage& message) const {
    const auto* output = std::get_if<OutputMessage>(&message);
    return output && output->stage_id == engine_->num_stages() - 1 &&
           output->output.finish_reason != FinishReason::kNone;
  }

  void go_on(const std::string& id, Client& client) {
    StreamingUpdate update;
    update.request_id = id;
    update.prompt = ChatPrompt{.messages = {ChatMessage::text("user", "And a lake?")}};
    update.resumable = --client.segments_left > 0;
    const Status added = engine_->add_streaming_update(std::move(update));
    report_.segments += added.ok();
    // It may have died meanwhile.
    if (added.ok() || added.code() == StatusCode::kNotFound) return;
    violation(fmt::format("a segment of '{}' was refused: {}", id, added.message()));
    abort(id, client);
  }

  void end(const EngineMessage& message, Client& client) {
    if (client.terminals++ > 0) return;
    --live_;
    ++ended_;
    const auto* output = std::get_if<OutputMessage>(&message);
    if (!output) {
      ++report_.failed;
    } else if (output->output.finish_reason == FinishReason::kAbort) {
      ++report_.aborted;
      if (!client.abort_sent) violation("a request was aborted that nobody had aborted");
    } else {
      ++report_.finished;
    }
  }

  // The kills are spread evenly over the requests, one stage after the other.
  void kill_when_due() {
    if (killed_ == options_.num_kills || live_ == 0) return;
    if (ended_ < (killed_ + 1) * options_.num_requests / (options_.num_kills + 1)) return;
    const int32_t stage = killed_ % engine_->num_stages();
    std::vector<Child> candidates = children();
    std::erase_if(candidates, [&](const Child& c) { return c.stage != stage || c.zombie; });
    if (candidates.empty()) return;
    const auto victim = static_cast<size_t>(draw(0, static_cast<int32_t>(candidates.size()) - 1));
    if (kill(candidates[victim].id, SIGKILL) != 0) return;
    ++report_.kills[static_cast<size_t>(stage)];
    ++killed_;
  }

  void check_holdings() {
    for (const Child& child : children()) {
      violation(fmt::format("process {} of stage {} is left{}", child.id, child.stage,
                            child.zombie ? ", a zombie" : ""));
    }
    const auto same = [&](const char* what, int64_t begin, int64_t end) {
      if (begin != end) violation(fmt::format("{}: {} at first, {} at last", what, begin, end));
    };
    const auto no_more = [&](const char* what, int64_t begin, int64_t end) {
      if (end > begin + kMemorySlack) {
        violation(fmt::format("{}: {} MiB at first, {} MiB at last", what, begin >> 20, end >> 20));
      }
    };
    const Holdings &loaded = report_.loaded, &after = report_.after;
    same("descriptors at rest", loaded.descriptors, after.descriptors);
    same("shared files at rest", loaded.shared_files, after.shared_files);
    no_more("resident memory at rest", loaded.resident_bytes, after.resident_bytes);
    no_more("the workers' resident memory at rest", loaded.workers_resident_bytes,
            after.workers_resident_bytes);
    same("descriptors without engine", report_.before.descriptors, report_.closed.descriptors);
    same("shared files without engine", report_.before.shared_files, report_.closed.shared_files);
    same("threads without engine", report_.before.threads, report_.closed.threads);
    no_more("/dev/shm", report_.before.shared_bytes, report_.closed.shared_bytes);
  }

  const ChaosOptions options_;
  std::mt19937_64 random_;
  const Clock::time_point end_;
  AsyncOmniEngine* engine_ = nullptr;
  std::map<std::string, Client> clients_;
  int32_t begun_ = 0, live_ = 0, ended_ = 0, killed_ = 0;
  ChaosReport report_;
};

void row(const std::string& what, const std::string& value) {
  std::fputs(fmt::format("{:<44} {}\n", what, value).c_str(), stdout);
}

}  // namespace

ChaosReport run(const ChaosOptions& options) { return Run(options)(); }

void print(const ChaosReport& report) {
  row("requests accepted", fmt::format("{}", report.accepted));
  row("  finished / aborted / failed",
      fmt::format("{} / {} / {}", report.finished, report.aborted, report.failed));
  row("  begun again after a death", fmt::format("{}", report.retried));
  row("segments of sessions", fmt::format("{}", report.segments));
  row("messages read slowly", fmt::format("{}", report.slow_messages));
  row("workers killed, per stage", fmt::format("{}", fmt::join(report.kills, ", ")));
  const auto line = [](const char* when, const Holdings& h) {
    row(when, fmt::format("{:>3} fds, {:>2} threads, {:>2} shared files, {:>4} MiB resident, "
                          "{:>5} MiB in workers, {} MiB in /dev/shm",
                          h.descriptors, h.threads, h.shared_files, h.resident_bytes >> 20,
                          h.workers_resident_bytes >> 20, h.shared_bytes >> 20));
  };
  line("before the engine", report.before);
  line("engine at rest, before", report.loaded);
  line("engine at rest, after", report.after);
  line("after the engine", report.closed);
  row("seconds", fmt::format("{:.1f}", report.duration_s));
  for (const std::string& sentence : report.violations) row("VIOLATION", sentence);
  row("result", report.violations.empty() ? "all invariants held" : "FAILED");
}

}  // namespace tutti::chaos
