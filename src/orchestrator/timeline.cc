#include "orchestrator/timeline.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <utility>

#include "base/strings.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;

double unix_offset(TimePoint epoch) {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(wall).count() - to_seconds(Clock::steady().now() - epoch);
}

std::string number(double value) { return fmt::format("{:.6f}", value); }

double or_else(double time_s, double otherwise) { return time_s > 0 ? time_s : otherwise; }

// When the stage got the request's first input, and computed for it from its first step to its
// last.
struct StageTimes {
  bool transfers = false;
  double transfer_begin = 0;  // of the first chunk; the others come while it computes
  double queue_begin = 0;
  double compute_begin = 0;
  double compute_end = 0;
};

// Without making the file.
bool can_write(const fs::path& path) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    return !fs::is_directory(path, ignored) && access(path.c_str(), W_OK) == 0;
  }
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  return path.has_filename() && fs::is_directory(folder, ignored) &&
         access(folder.c_str(), W_OK | X_OK) == 0;
}

// `takes_chunks`: of other stages.
template <typename Record>
StageTimes times_of(const Record& at, bool takes_chunks, double end_s) {
  const StageMetrics& metrics = at.metrics;
  StageTimes times;
  times.queue_begin = or_else(metrics.submitted_s, end_s);
  times.transfer_begin = std::min(at.sent_s, times.queue_begin);
  times.transfers = takes_chunks && metrics.transfer_s > 0;
  times.compute_end = or_else(metrics.finished_s, end_s);
  times.compute_begin = or_else(metrics.first_scheduled_s, times.compute_end);
  times.compute_end = std::max(times.compute_end, times.compute_begin);
  return times;
}

}  // namespace

Status Timeline::check(const std::string& trace_out, const std::string& otlp_endpoint) {
  if (!trace_out.empty() && !can_write(trace_out)) {
    return invalid_argument(
               fmt::format("`trace_out` is '{}', which cannot be written; a file in an "
                           "existing directory is expected.",
                           trace_out))
        .with_param("trace_out");
  }
  return otlp_endpoint.empty() ? Status() : OtlpExporter::check(otlp_endpoint);
}

Result<std::unique_ptr<Timeline>> Timeline::create(std::shared_ptr<const StageGraph> graph,
                                                   Options options) {
  TUTTI_RETURN_IF_ERROR(check(options.trace_out, options.otlp_endpoint));
  std::unique_ptr<OtlpExporter> exporter;
  if (!options.otlp_endpoint.empty()) {
    TUTTI_ASSIGN_OR_RETURN(exporter, OtlpExporter::create(options.otlp_endpoint));
  }
  return std::unique_ptr<Timeline>(
      new Timeline(std::move(graph), std::move(options), std::move(exporter)));
}

Timeline::Timeline(std::shared_ptr<const StageGraph> graph, Options options,
                   std::unique_ptr<OtlpExporter> exporter)
    : graph_(std::move(graph)),
      options_(std::move(options)),
      exporter_(std::move(exporter)),
      unix_offset_s_(unix_offset(options_.epoch)),
      recorder_(options_.trace_events, options_.epoch) {
  recorder_.set_enabled(!options_.trace_out.empty());
}

int64_t Timeline::unix_ns(double engine_s) const {
  return std::llround((engine_s + unix_offset_s_) * 1e9);
}

size_t Timeline::size() const {
  const std::lock_guard lock(mutex_);
  return open_.size();
}

void Timeline::accepted(const AcceptedRequest& request) {
  ++accepted_;
  if (!records()) return;
  Record record;
  record.request_id = request.request_id;
  record.context = trace_context(request.trace_headers);
  record.arrival_s = request.arrival_s;
  add_prompt_text(record, request.prompt_text);
  record.sampling_params = request.segment.sampling_params;
  const std::lock_guard lock(mutex_);
  open_[request.key] = std::move(record);
}

void Timeline::not_accepted(RequestKey key) {
  --accepted_;
  const std::lock_guard lock(mutex_);
  open_.erase(key);
}

void Timeline::updated(RequestKey key, std::string_view prompt_text) {
  if (!records()) return;
  const std::lock_guard lock(mutex_);
  const auto found = open_.find(key);
  if (found != open_.end()) add_prompt_text(found->second, prompt_text);
}

void Timeline::add_prompt_text(Record& record, std::string_view text) {
  const size_t room = kMostPromptText - record.prompt_text.size();
  const std::string_view fits = text.substr(0, room);
  record.prompt_text += fits.substr(0, utf8_complete_prefix(fits));
}

void Timeline::on_retry(RequestKey) { ++retried_; }

void Timeline::on_message(RequestKey key, const EngineMessage& message) {
  const auto* output = std::get_if<OutputMessage>(&message);
  const auto* error = std::get_if<ErrorMessage>(&message);
  const bool terminal = error || (output && output->finished);
  if (error) {
    ++failed_;
  } else if (terminal) {
    const bool aborted = output->output.finish_reason == FinishReason::kAbort;
    ++(aborted ? aborted_ : finished_);
  }
  if (!records()) return;
  Record record;
  {
    const std::lock_guard lock(mutex_);
    const auto found = open_.find(key);
    if (found == open_.end()) return;
    const auto take = [&](const auto& said) {
      const StageMetrics& metrics = said.metrics;
      auto& stages = found->second.stages;
      StageRecord& at = stages[{said.stage_id, metrics.submitted_s}];
      if (stages.size() > kMostStageRecords) stages.erase(stages.begin());
      at.replica = said.replica_id;
      at.sent_s = said.stage_submit_ts;
      at.metrics = metrics;
      return &at;
    };
    if (output) {
      StageRecord* at = take(*output);
      at->finish_reason = output->output.finish_reason;
    } else if (const auto* metrics = std::get_if<StageMetricsMessage>(&message)) {
      take(*metrics);
    } else {
      found->second.error = error->error;
    }
    if (!terminal) return;
    record = std::move(found->second);
    open_.erase(found);
  }
  ended(key, std::move(record));
}

void Timeline::ended(RequestKey key, Record record) {
  const double end_s = recorder_.now_s();
  if (recorder_.enabled()) draw(key, record, end_s);
  if (exporter_ && record.context.sampled) send_spans(record, end_s);
}

void Timeline::draw(RequestKey key, const Record& record, double end_s) {
  for (const auto& [begun, at] : record.stages) {
    const int32_t stage = begun.first;
    const StageMetrics& metrics = at.metrics;
    if (metrics.submitted_s <= 0) continue;  // never began here
    const TraceTrack track{stage, at.replica};
    recorder_.name_track(track, graph_->describe(stage), fmt::format("replica {}", at.replica));
    const bool takes_chunks = !graph_->spec(stage).sources.empty();
    const StageTimes times = times_of(at, takes_chunks, end_s);
    const TraceArgs who{{"request", json_quoted(record.request_id)}};
    if (times.transfers) {
      recorder_.async_span(track, "transfer", key.value, times.transfer_begin, times.queue_begin,
                           {{"request", json_quoted(record.request_id)},
                            {"all_chunks_s", number(metrics.transfer_s)}});
    }
    recorder_.async_span(track, "queue", key.value, times.queue_begin, times.compute_begin, who);
    recorder_.async_span(track, "compute", key.value, times.compute_begin, times.compute_end,
                         {{"request", json_quoted(record.request_id)},
                          {"steps_s", number(metrics.compute_s)},
                          {"prompt", std::to_string(metrics.prompt_tokens)},
                          {"cached", std::to_string(metrics.cached_tokens)},
                          {"output", std::to_string(metrics.output_tokens)},
                          {"preemptions", std::to_string(metrics.preemptions)},
                          {"underrun_s", number(metrics.underrun_s)}});
    const bool text = graph_->spec(stage).final_output_type == "text";
    if (text && metrics.first_output_s > 0) {
      recorder_.instant(track, "first token", metrics.first_output_s, who);
    }
    if (metrics.first_audio_s > 0) {
      recorder_.instant(track, "first audio", metrics.first_audio_s, who);
    }
  }
  const double live = static_cast<double>(accepted_ - finished_ - aborted_ - failed_);
  recorder_.counter({}, "requests", end_s, live);
}

// Names of attributes: OpenTelemetry's conventions for generative AI, and vLLM's where they have
// none.
void Timeline::send_spans(const Record& record, double end_s) {
  Span root;
  root.trace_id = record.context.trace_id;
  root.span_id = new_span_id();
  root.parent_span_id = record.context.parent_span_id;
  root.trace_state = record.context.trace_state;
  root.name = "llm_request";
  root.kind = Span::Kind::kServer;
  root.begin_ns = unix_ns(record.arrival_s);
  root.end_ns = unix_ns(end_s);
  root.error = record.error.message();
  const SamplingParams& params = record.sampling_params.front();
  auto& about = root.attributes;
  about.emplace_back("gen_ai.operation.name", "generate_content");
  about.emplace_back("gen_ai.request.model", options_.model);
  about.emplace_back("gen_ai.response.model", options_.model);
  about.emplace_back("gen_ai.request.id", record.request_id);
  if (!record.prompt_text.empty()) about.emplace_back("gen_ai.prompt", record.prompt_text);
  about.emplace_back("gen_ai.request.temperature", static_cast<double>(params.temperature));
  about.emplace_back("gen_ai.request.top_p", static_cast<double>(params.top_p));
  if (params.max_tokens) {
    about.emplace_back("gen_ai.request.max_tokens", int64_t{*params.max_tokens});
  }
  about.emplace_back("gen_ai.latency.e2e", end_s - record.arrival_s);
  std::vector<std::string> reasons;
  int64_t input_tokens = 0, output_tokens = 0;
  const StageRecord* first = nullptr;  // of the stages that take the prompt
  for (const auto& [begun, at] : record.stages) {
    if (at.finish_reason != FinishReason::kNone) {
      reasons.emplace_back(finish_reason_name(at.finish_reason));
    }
    if (!graph_->spec(begun.first).sources.empty()) continue;
    input_tokens += at.metrics.prompt_tokens;
    output_tokens += at.metrics.output_tokens;
    if (!first) first = &at;
  }
  about.emplace_back("gen_ai.usage.input_tokens", input_tokens);
  about.emplace_back("gen_ai.usage.output_tokens", output_tokens);
  about.emplace_back("gen_ai.usage.prompt_tokens", input_tokens);
  about.emplace_back("gen_ai.usage.completion_tokens", output_tokens);
  if (first) {
    const double began_s = times_of(*first, false, end_s).compute_begin;
    about.emplace_back("gen_ai.latency.time_in_queue", began_s - record.arrival_s);
    if (first->metrics.first_output_s > 0) {
      about.emplace_back("gen_ai.latency.time_to_first_token",
                         first->metrics.first_output_s - record.arrival_s);
    }
  }
  if (!reasons.empty()) about.emplace_back("gen_ai.response.finish_reasons", std::move(reasons));

  for (const auto& [begun, at] : record.stages) {
    const int32_t stage = begun.first;
    const StageMetrics& metrics = at.metrics;
    if (metrics.submitted_s <= 0) continue;
    const bool takes_chunks = !graph_->spec(stage).sources.empty();
    const StageTimes times = times_of(at, takes_chunks, end_s);
    const auto add = [&](const char* part, double begin, double end) {
      Span span;
      span.trace_id = root.trace_id;
      span.span_id = new_span_id();
      span.parent_span_id = root.span_id;
      span.name = graph_->spec(stage).model_stage + " " + part;
      span.begin_ns = unix_ns(begin);
      span.end_ns = unix_ns(end);
      span.attributes = {{"gen_ai.request.id", record.request_id},
                         {"tutti.stage.id", int64_t{stage}},
                         {"tutti.stage.name", graph_->spec(stage).model_stage},
                         {"tutti.replica.id", int64_t{at.replica}}};
      if (std::string_view(part) == "transfer") {
        span.attributes.emplace_back("tutti.latency.transfer_all_chunks", metrics.transfer_s);
      }
      if (std::string_view(part) == "compute") {
        span.attributes.emplace_back("gen_ai.usage.input_tokens", metrics.prompt_tokens);
        span.attributes.emplace_back("gen_ai.usage.output_tokens", metrics.output_tokens);
        span.attributes.emplace_back("gen_ai.latency.time_in_model_execute", metrics.compute_s);
      }
      exporter_->add(std::move(span));
    };
    if (times.transfers) add("transfer", times.transfer_begin, times.queue_begin);
    add("queue", times.queue_begin, times.compute_begin);
    add("compute", times.compute_begin, times.compute_end);
  }
  exporter_->add(std::move(root));
}

Status Timeline::finish() {
  if (options_.trace_out.empty()) return {};
  return recorder_.write(options_.trace_out);
}

}  // namespace tutti
