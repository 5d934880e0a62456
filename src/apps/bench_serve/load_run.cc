#include "apps/bench_serve/load_run.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include "apps/bench_serve/arrivals.h"
#include "apps/bench_serve/connection.h"
#include "apps/bench_serve/exchange.h"

namespace tutti::bench {

namespace json = boost::json;

namespace {

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr double kConnectTimeout_s = 10;

// Every request has a descriptor of its own.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

// The first model of GET /v1/models.
Result<std::string> first_model(std::string_view list) {
  boost::system::error_code bad;
  const json::value value = json::parse(list, bad);
  const json::object* object = bad ? nullptr : value.if_object();
  const json::value* data = object ? object->if_contains("data") : nullptr;
  if (data && data->is_array() && !data->get_array().empty()) {
    const json::object* model = data->get_array().front().if_object();
    const json::value* id = model ? model->if_contains("id") : nullptr;
    if (id && id->is_string()) return std::string(id->get_string());
  }
  return not_found("The server's /v1/models names no model; --model says which one to ask.");
}

class Run {
 public:
  Run(LoadOptions options, const std::vector<LoadPrompt>& prompts, Target target)
      : options_(std::move(options)), prompts_(prompts), target_(std::move(target)), io_(1) {}

  // Whether the server is there, and which model it has when none was given.
  Status prepare() {
    Status status;
    net::co_spawn(io_, greet(), [&](const std::exception_ptr& thrown, Status greeted) {
      status = thrown ? internal_error("The server could not be asked for its models.")
                      : std::move(greeted);
      io_.stop();
    });
    net::co_spawn(io_, watch(), net::detached);
    io_.run();
    io_.restart();
    if (interrupted_) return Status(StatusCode::kAborted, "Interrupted.");
    return status;
  }

  LoadResult run() {
    measurements_.resize(static_cast<size_t>(options_.num_prompts));
    arrivals_ =
        arrivals(options_.num_prompts, options_.request_rate, options_.burstiness, options_.seed);
    target_.epoch = SteadyClock::now();
    net::co_spawn(io_, dispatch(), net::detached);
    if (options_.num_prompts > 0) io_.run();
    if (options_.on_progress) options_.on_progress(progress_);
    LoadResult result;
    result.duration_s = interrupted_ ? target_.now_s() : last_end_s_;
    result.interrupted = interrupted_;
    result.model = options_.model;
    for (Measurement& m : measurements_) result.records.push_back(m.take());
    return result;
  }

 private:
  net::awaitable<Status> greet() {
    if (!options_.model.empty()) {
      PlainStream stream(co_await net::this_coro::executor);
      stream.expires_after(duration(kConnectTimeout_s));
      const auto [error, endpoint] = co_await stream.async_connect(target_.endpoints, kUse);
      co_return error ? connect_error(target_, error) : Status();
    }
    const Result<std::string> list = co_await get(target_, target_.path("/v1/models"));
    if (!list.ok()) co_return list.error();
    Result<std::string> model = first_model(*list);
    if (!model.ok()) co_return model.error();
    options_.model = std::move(*model);
    co_return Status();
  }

  // Shows the progress, and ends the run at once when it is asked to.
  net::awaitable<void> watch() {
    net::steady_timer tick(io_);
    for (;;) {
      if (options_.on_progress && options_.on_progress(progress_)) {
        interrupted_ = true;
        io_.stop();
        co_return;
      }
      tick.expires_after(kTick);
      const auto [cancelled] = co_await tick.async_wait(kUse);
      if (cancelled) co_return;
    }
  }

  net::awaitable<void> dispatch() {
    net::steady_timer due(io_);
    for (int64_t i = 0; i < options_.num_prompts; ++i) {
      due.expires_at(target_.epoch + duration(arrivals_[static_cast<size_t>(i)]));
      const auto [cancelled] = co_await due.async_wait(kUse);
      (void)cancelled;
      while (options_.max_concurrency > 0 && progress_.in_flight >= options_.max_concurrency) {
        room_.expires_at(SteadyClock::time_point::max());
        const auto [freed] = co_await room_.async_wait(kUse);
        (void)freed;
      }
      ++progress_.in_flight;
      net::co_spawn(io_, exchange(i), [this, i](const std::exception_ptr& thrown, Status status) {
        over(i, thrown ? internal_error("The client could not measure the answer.")
                       : std::move(status));
      });
    }
  }

  net::awaitable<Status> exchange(int64_t index) {
    Measurement& measurement = measurements_[static_cast<size_t>(index)];
    const LoadPrompt& prompt = prompts_[static_cast<size_t>(index) % prompts_.size()];
    std::string path = target_.path(
        options_.endpoint.empty() ? backend_info(options_.backend).endpoint : options_.endpoint);
    if (options_.backend != Backend::kRealtime) {
      co_return co_await post(target_, std::move(path), request_body(options_, prompt),
                              measurement);
    }
    Result<RealtimeScript> script = realtime_script(options_, prompt);
    if (!script.ok()) co_return script.error();
    path += (path.find('?') == std::string::npos ? "?model=" : "&model=") +
            percent_encoded(options_.model);
    co_return co_await converse(target_, std::move(path), std::move(*script), measurement);
  }

  void over(int64_t index, const Status& status) {
    Measurement& measurement = measurements_[static_cast<size_t>(index)];
    last_end_s_ = target_.now_s();
    if (measurement.record().outcome == Outcome::kUnfinished) {
      measurement.fail(last_end_s_, status);
    }
    const bool completed = measurement.record().outcome == Outcome::kCompleted;
    ++(completed ? progress_.completed : progress_.failed);
    --progress_.in_flight;
    room_.cancel();
    if (progress_.completed + progress_.failed == options_.num_prompts) io_.stop();
  }

  LoadOptions options_;
  const std::vector<LoadPrompt>& prompts_;
  Target target_;
  std::vector<double> arrivals_;
  std::vector<Measurement> measurements_;
  LoadOptions::Progress progress_;
  bool interrupted_ = false;
  double last_end_s_ = 0;
  // Last, so that coroutines an interrupt has left end before what they use.
  net::io_context io_;
  net::steady_timer room_{io_};  // cancelled when a request has ended
};

}  // namespace

Result<LoadResult> run_load(LoadOptions options, const std::vector<LoadPrompt>& prompts) {
  raise_descriptor_limit();
  TUTTI_ASSIGN_OR_RETURN(Target target, make_target(options));
  Run run(std::move(options), prompts, std::move(target));
  TUTTI_RETURN_IF_ERROR(run.prepare());
  return run.run();
}

}  // namespace tutti::bench
