#include "apps/tutti/bench_flags.h"

#include <limits>

#include "apps/bench_serve/load_options.h"
#include "apps/tutti/flag_checks.h"

namespace tutti::cli {
namespace {

void add_bench_target(CLI::App& command, BenchServeFlags& flags) {
  const std::string group = "Server";
  command
      .add_option("--base-url", flags.base_url, "http(s)://HOST:PORT, in place of --host, --port")
      ->group(group);
  command.add_option("--host", flags.host, "Host of the server")
      ->capture_default_str()
      ->group(group);
  command.add_option("--port", flags.port, "Its port")
      ->check(integer_between(1, 65535))
      ->capture_default_str()
      ->group(group);
  std::vector<std::string> backends;
  for (const bench::BackendInfo& info : bench::kBackends) backends.emplace_back(info.name);
  command
      .add_option("--backend,--endpoint-type", flags.backend,
                  "openai: completions; openai-chat: text; openai-chat-omni: text and speech; "
                  "openai-audio-speech; openai-realtime: speech over a WebSocket")
      ->check(CLI::IsMember(backends))
      ->capture_default_str()
      ->group(group);
  command.add_option("--endpoint", flags.endpoint, "Path, if not the backend's own")->group(group);
  command.add_option("--model", flags.model, "Default: the first that the server lists")
      ->group(group);
  command.add_option("--api-key", flags.api_key, "Default: $OPENAI_API_KEY, if set")
      ->envname("OPENAI_API_KEY")
      ->group(group);
  command.add_option("--header", flags.headers, "A header of every request; may be given again")
      ->type_name("NAME=VALUE")
      ->group(group);
  command.add_flag("--insecure", flags.insecure, "Take any certificate of an https:// server")
      ->group(group);
  command.add_option("--request-timeout", flags.request_timeout_s, "Seconds that one may take")
      ->check(seconds_above_0())
      ->capture_default_str()
      ->group(group);
}

void add_bench_load(CLI::App& command, BenchServeFlags& flags) {
  const std::string group = "Load";
  command.add_option("--num-prompts", flags.num_prompts, "Requests to send")
      ->check(integer_between(1, 10'000'000))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--request-rate", flags.request_rate,
                  "Requests per second, arriving as --burstiness says; inf: all at once")
      ->check([](const std::string& text) -> std::string {
        double rate = 0;
        const bool good = CLI::detail::lexical_cast(text, rate) && rate > 0;
        return good ? "" : "'" + text + "' is no rate above 0; inf sends all at once";
      })
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--burstiness", flags.burstiness,
                  "Shape of the gamma distribution of gaps: 1 is a Poisson process, less is more "
                  "bursty, more is more even")
      ->check(number_between(0.01, 1000))
      ->capture_default_str()
      ->group(group);
  command.add_option("--max-concurrency", flags.max_concurrency, "Most at once; 0: no bound")
      ->check(integer_between(0, 1'000'000))
      ->capture_default_str()
      ->group(group);
  command.add_option("--seed", flags.seed, "Same seed, same arrivals")
      ->check(integer_between(0, std::numeric_limits<int64_t>::max()))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--dataset-path", flags.dataset_path,
                  "JSONL of prompts (docs/bench.md); default: built-in ones")
      ->group(group);
  command.add_option("--output-len", flags.output_len, "Most tokens of an answer")
      ->check(integer_between(1, 1'000'000))
      ->group(group);
  command.add_flag("--ignore-eos", flags.ignore_eos, "Go on to --output-len (vLLM, Tutti)")
      ->group(group);
  command.add_option("--temperature", flags.temperature, "0 is greedy")->group(group);
  command.add_option("--voice", flags.voice, "Of speech; default: the server's")->group(group);
  command.add_option("--extra-body", flags.extra_body, "JSON object of further request fields")
      ->group(group);
}

}  // namespace

void add_bench(CLI::App& app, BenchServeFlags& flags) {
  CLI::App& bench = *app.add_subcommand("bench", "Measure");
  bench.require_subcommand(1);
  CLI::App& command = *bench.add_subcommand(
      "serve", "Send an OpenAI-compatible server a load, and measure what its clients see");
  add_bench_target(command, flags);
  add_bench_load(command, flags);
  const std::string group = "Result";
  command
      .add_option("--goodput", flags.goodput,
                  "Limits of ttft, tpot, ttfa, e2e: counts requests per second that keep them all")
      ->type_name("NAME:MS")
      ->group(group);
  command.add_option("--metric-percentiles", flags.percentiles, "Percentiles of the table")
      ->delimiter(',')
      ->check(number_between(0, 100))
      ->capture_default_str()
      ->group(group);
  command.add_flag("--save-result", flags.save_result, "Write the figures as JSON")->group(group);
  command.add_flag("--save-detailed", flags.save_detailed, "With each request's, too")
      ->group(group);
  command.add_option("--result-dir", flags.result_dir, "Where --save-result writes")->group(group);
  command.add_option("--result-filename", flags.result_filename, "Implies --save-result")
      ->group(group);
  command.add_option("--plot", flags.plot, "Draw the latencies into this SVG file")->group(group);
  command.add_flag("--quiet", flags.quiet, "No progress");
}

}  // namespace tutti::cli
