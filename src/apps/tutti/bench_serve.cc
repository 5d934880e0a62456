// `tutti bench serve`: a load on any OpenAI-compatible server, and what its clients saw of it.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "apps/bench_serve/goodput.h"
#include "apps/bench_serve/load_run.h"
#include "apps/bench_serve/plot.h"
#include "apps/bench_serve/report.h"
#include "apps/tutti/command.h"
#include "apps/tutti/interrupt.h"
#include "apps/tutti/loading_bar.h"
#include "apps/tutti/output_path.h"

namespace tutti::cli {
namespace {

Result<HttpUrl> server_url(const BenchServeFlags& flags) {
  const bool v6 = flags.host.find(':') != std::string::npos;
  const std::string host = v6 ? "[" + flags.host + "]" : flags.host;
  const std::string text =
      flags.base_url.empty() ? fmt::format("http://{}:{}", host, flags.port) : flags.base_url;
  const auto url = parse_http_url(text);
  if (url) return *url;
  return invalid_argument(
             fmt::format("'{}' is no http://HOST:PORT or https://HOST:PORT of a server", text))
      .with_param(flags.base_url.empty() ? "host" : "base-url");
}

Result<bench::LoadOptions> load_options(const BenchServeFlags& flags) {
  bench::LoadOptions options;
  TUTTI_ASSIGN_OR_RETURN(options.url, server_url(flags));
  for (const bench::BackendInfo& info : bench::kBackends) {
    if (info.name == flags.backend) options.backend = info.backend;
  }
  if (!flags.endpoint.empty() && !flags.endpoint.starts_with('/')) {
    return invalid_argument(
               fmt::format("--endpoint is '{}'; it must begin with '/'", flags.endpoint))
        .with_param("endpoint");
  }
  for (const std::string& header : flags.headers) {
    const size_t equals = header.find('=');
    if (equals == 0 || equals == std::string::npos ||
        header.find_first_of("\r\n") != std::string::npos) {
      return invalid_argument(fmt::format("--header is '{}'; it must be NAME=VALUE", header))
          .with_param("header");
    }
    options.headers.emplace_back(header.substr(0, equals), header.substr(equals + 1));
  }
  if (!flags.extra_body.empty()) {
    boost::system::error_code bad;
    const boost::json::value body = boost::json::parse(flags.extra_body, bad);
    if (bad || !body.is_object()) {
      return invalid_argument("--extra-body is no JSON object").with_param("extra-body");
    }
    options.extra_body = body.get_object();
  }
  TUTTI_ASSIGN_OR_RETURN(options.goodput, bench::parse_goodput(flags.goodput, options.backend));
  options.insecure = flags.insecure;
  options.api_key = flags.api_key;
  options.endpoint = flags.endpoint;
  options.model = flags.model;
  options.voice = flags.voice;
  options.output_len = flags.output_len;
  options.ignore_eos = flags.ignore_eos;
  options.temperature = flags.temperature;
  options.num_prompts = flags.num_prompts;
  options.request_rate = flags.request_rate;
  options.burstiness = flags.burstiness;
  options.max_concurrency = flags.max_concurrency;
  options.seed = flags.seed;
  options.request_timeout_s = flags.request_timeout_s;
  return options;
}

// Empty when no JSON is wanted.
std::string result_path(const BenchServeFlags& flags, const std::string& date) {
  if (!flags.save_result && !flags.save_detailed && flags.result_filename.empty()) return "";
  std::string name = flags.result_filename;
  if (name.empty()) {
    name = flags.backend;
    if (std::isfinite(flags.request_rate)) name += fmt::format("-{:g}qps", flags.request_rate);
    if (flags.max_concurrency > 0) name += fmt::format("-concurrency{}", flags.max_concurrency);
    name += "-" + date + ".json";
  }
  return (std::filesystem::path(flags.result_dir) / name).string();
}

// Before the run, which may be a long one.
Status make_result_dir(const std::string& folder) {
  std::error_code error;
  if (folder.empty() || std::filesystem::is_directory(folder, error)) return {};
  std::filesystem::create_directories(folder, error);
  if (!error) return {};
  return invalid_argument(
      fmt::format("--result-dir is '{}', which cannot be made: {}", folder, error.message()));
}

Status write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (out) return {};
  return unavailable(fmt::format("'{}' cannot be written.", path));
}

// One line on stderr, redrawn in place on a terminal.
class RunBar {
 public:
  RunBar(bool quiet, int64_t total) : shown_(!quiet && isatty(STDERR_FILENO) != 0), total_(total) {}
  ~RunBar() {
    if (shown_) std::fputs("\r\033[K", stderr);
  }
  void update(const bench::LoadOptions::Progress& p) const {
    if (!shown_) return;
    const int64_t done = p.completed + p.failed;
    std::string line =
        fmt::format("\r\033[Krequests {}  {} of {}, {} in flight",
                    progress_bar(static_cast<double>(done) / static_cast<double>(total_)), done,
                    total_, p.in_flight);
    if (p.failed > 0) line += fmt::format(", {} failed", p.failed);
    std::fputs(line.c_str(), stderr);
  }

 private:
  const bool shown_;
  const int64_t total_;
};

Status save(const BenchServeFlags& flags, const std::string& path, const std::string& text,
            const char* what) {
  TUTTI_RETURN_IF_ERROR(write_file(path, text));
  if (!flags.quiet) std::fputs(fmt::format("{} in {}\n", what, path).c_str(), stderr);
  return {};
}

Status report(const BenchServeFlags& flags, const bench::LoadOptions& options,
              const bench::LoadResult& result, const std::string& date,
              const std::string& json_path) {
  const bench::Summary summary =
      bench::summarize(result.records, result.duration_s, flags.percentiles, options.goodput);
  std::fputs(bench::report_table(options, result, summary).c_str(), stdout);
  std::fflush(stdout);
  if (!json_path.empty()) {
    const auto json = bench::report_json(options, result, summary, date, flags.save_detailed);
    TUTTI_RETURN_IF_ERROR(save(flags, json_path, boost::json::serialize(json) + "\n", "figures"));
  }
  if (!flags.plot.empty()) {
    const std::string title =
        fmt::format("{} of {}: {} requests", flags.backend, result.model, summary.completed);
    TUTTI_RETURN_IF_ERROR(
        save(flags, flags.plot, bench::latency_plot(result.records, title), "plot"));
  }
  if (summary.completed > 0 || result.interrupted) return {};
  return unavailable(fmt::format("none of the {} requests succeeded", summary.failed));
}

}  // namespace

int run_bench_serve(const BenchServeFlags& flags) {
  auto options = load_options(flags);
  if (!options.ok()) return report_error(options.error());
  const std::string date = fmt::format("{:%Y%m%d-%H%M%S}", fmt::localtime(std::time(nullptr)));
  const std::string json_path = result_path(flags, date);
  if (!json_path.empty()) {
    const Status made = make_result_dir(flags.result_dir);
    if (!made.ok()) return report_error(made);
  }
  for (const std::string& path : {json_path, flags.plot}) {
    if (const Status status = check_output_path(path); !status.ok()) return report_error(status);
  }
  std::vector<bench::LoadPrompt> prompts = bench::builtin_prompts(options->backend);
  if (!flags.dataset_path.empty()) {
    auto read = bench::read_prompts(flags.dataset_path, options->backend);
    if (!read.ok()) return report_error(read.error());
    prompts = std::move(*read);
  }
  const InterruptGuard interrupt;
  Result<bench::LoadResult> result = Status(StatusCode::kAborted, "");
  {
    const RunBar bar(flags.quiet, flags.num_prompts);
    options->on_progress = [&](const bench::LoadOptions::Progress& progress) {
      bar.update(progress);
      return interrupt.interrupted();
    };
    result = bench::run_load(*options, prompts);
  }
  if (!result.ok()) {
    if (result.error().code() == StatusCode::kAborted) return kExitInterrupted;
    return report_error(result.error());
  }
  const Status reported = report(flags, *options, *result, date, json_path);
  if (!reported.ok()) return report_error(reported);
  return result->interrupted ? kExitInterrupted : kExitOk;
}

}  // namespace tutti::cli
