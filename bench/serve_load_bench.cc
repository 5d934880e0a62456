// Many server-sent event streams and realtime sockets at once on one server, over several rounds:
// does every client get its share, and does the server's memory stay where it is?
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <thread>

#include "apps/bench_serve/load_run.h"
#include "apps/bench_serve/summary.h"
#include "process_usage.h"

namespace tutti::bench {
namespace {

struct Flags {
  std::string url = "http://127.0.0.1:8091";
  pid_t process = 0;
  int64_t streams = 200;
  int64_t sockets = 50;
  int64_t turns = 3;  // requests of each stream and socket, in a round
  int32_t tokens = 48;
  int rounds = 5;
};

struct Side {
  LoadOptions options;
  Result<LoadResult> result = internal_error("not run");
  Summary summary = {};

  void run() {
    result = run_load(options, builtin_prompts(options.backend));
    if (result.ok()) summary = summarize(result->records, result->duration_s, {99});
  }
  // What went over the wire one by one: tokens of text, chunks of sound.
  int64_t sent() const {
    int64_t count = summary.output_tokens;
    if (!result.ok()) return count;
    for (const RequestRecord& record : result->records) count += record.audio_chunks;
    return count;
  }
  const Distribution& of(const std::string& key) const {
    static const Distribution kNone;
    for (const MetricRow& row : summary.rows) {
      if (row.key == key) return row.values;
    }
    return kNone;
  }
};

LoadOptions load(const Flags& flags, Backend backend, int64_t at_once) {
  LoadOptions options;
  options.url = *parse_http_url(flags.url);
  options.backend = backend;
  options.max_concurrency = at_once;
  options.num_prompts = at_once * flags.turns;
  options.output_len = flags.tokens;
  options.ignore_eos = backend == Backend::kChat;
  return options;
}

void print_side(const char* what, const Side& side) {
  const Summary& s = side.summary;
  const Distribution& e2el = side.of("e2el");
  std::printf("  %-10s %5ld ok %3ld failed  %7.1f tok/s  TTFT p50 %6.0f max %6.0f ms", what,
              static_cast<long>(s.completed), static_cast<long>(s.failed),
              s.per_second(static_cast<double>(s.output_tokens)), side.of("ttft").median,
              side.of("ttft").max);
  std::printf("  ITL p99 %5.0f max %5.0f ms  E2E p50 %6.0f max/p50 %.2f",
              side.of("itl").percentiles.empty() ? 0 : side.of("itl").percentiles[0],
              side.of("itl").max, e2el.median, e2el.max / std::max(e2el.median, 1e-9));
  if (s.audio_streams > 0) {
    std::printf("  TTFA p50 %6.0f max %6.0f ms", side.of("audio_ttfa").median,
                side.of("audio_ttfa").max);
  }
  std::printf("\n");
  for (const auto& [error, count] : s.errors) {
    std::printf("    %ld x %s\n", static_cast<long>(count), error.c_str());
  }
}

// The server's own threads; the rest of the process is the engine.
void print_cpu(const ProcessUsage& before, const ProcessUsage& after, int64_t sent) {
  double server_s = 0;
  std::string parts;
  for (const char* thread : {"http", "gateway", "streams"}) {
    const double spent_s = after.cpu_of(thread) - before.cpu_of(thread);
    server_s += spent_s;
    parts += fmt::format(" {} {:.2f} s,", thread, spent_s);
  }
  const double all_s = after.cpu_total() - before.cpu_total();
  std::printf("  server threads:%s of %.2f s in all: %.1f us of CPU per token or chunk\n",
              parts.c_str(), all_s,
              1e6 * server_s / static_cast<double>(std::max<int64_t>(sent, 1)));
}

int run(const Flags& flags) {
  if (!parse_http_url(flags.url)) {
    std::fprintf(stderr, "error: '%s' is no http:// URL\n", flags.url.c_str());
    return 2;
  }
  int64_t failed = 0;
  for (int round = 1; round <= flags.rounds; ++round) {
    Side streams{.options = load(flags, Backend::kChat, flags.streams)};
    Side sockets{.options = load(flags, Backend::kRealtime, flags.sockets)};
    const ProcessUsage before = process_usage(flags.process);
    {
      std::vector<std::jthread> threads;
      if (flags.streams > 0) threads.emplace_back([&] { streams.run(); });
      if (flags.sockets > 0) threads.emplace_back([&] { sockets.run(); });
    }
    const ProcessUsage after = process_usage(flags.process);
    std::printf("round %d: %.1f MiB resident, %d descriptors\n", round, after.resident_mib,
                after.descriptors);
    for (Side* side : {&streams, &sockets}) {
      if (side->options.num_prompts == 0) continue;
      if (!side->result.ok()) {
        std::fprintf(stderr, "error: %s\n", side->result.error().message().c_str());
        return 1;
      }
      print_side(side == &streams ? "streams" : "sockets", *side);
      failed += side->summary.failed;
    }
    if (flags.process > 0) print_cpu(before, after, streams.sent() + sockets.sent());
    std::fflush(stdout);
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tutti::bench

int main(int argc, char** argv) {
  tutti::bench::Flags flags;
  CLI::App app("Event streams and realtime sockets at once on a running server, in rounds");
  app.add_option("--url", flags.url, "Of the server")->capture_default_str();
  app.add_option("--pid", flags.process, "Its process, for memory and CPU time");
  app.add_option("--streams", flags.streams, "Event streams at once")->capture_default_str();
  app.add_option("--sockets", flags.sockets, "Realtime sockets at once")->capture_default_str();
  app.add_option("--turns", flags.turns, "Requests of each, per round")->capture_default_str();
  app.add_option("--tokens", flags.tokens, "Of an answer")->capture_default_str();
  app.add_option("--rounds", flags.rounds, "Rounds")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return tutti::bench::run(flags);
}
