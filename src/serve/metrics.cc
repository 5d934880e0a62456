#include "serve/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "base/clock.h"
#include "serve/engine_metrics.h"

namespace tutti::serve {
namespace {

using prometheus::Histogram;

const Histogram::BucketBoundaries kSeconds{0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6,
                                           1.2,   2.5,  5,    10,   20,   40,   80};
const Histogram::BucketBoundaries kPerToken{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02,
                                            0.05,   0.1,   0.2,   0.5,   1};
const Histogram::BucketBoundaries kTokens{1,   2,    5,    10,   20,    50,    100,  200,
                                          500, 1000, 2000, 5000, 10000, 20000, 50000};
const Histogram::BucketBoundaries kFactors{0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 4};

using Labels = std::map<std::string, std::string>;

}  // namespace

struct Metrics::Impl {
  explicit Impl(const ModelInfo& m)
      : model(m),
        labels{{"model_name", m.name()}},
        prompt_tokens(counter("vllm:prompt_tokens_total", "Prompt tokens of ended requests.")),
        generation_tokens(counter("vllm:generation_tokens_total", "Text tokens produced.")),
        audio_seconds(counter("tutti:audio_seconds_total", "Seconds of sound produced.")),
        underrun_seconds(counter("tutti:underrun_seconds_total",
                                 "Seconds that listeners waited in silence after playback began.")),
        ttft(histogram("vllm:time_to_first_token_seconds", "From submission to the first token.",
                       kSeconds)),
        ttfa(histogram("tutti:time_to_first_audio_seconds",
                       "From submission to the first audible sound.", kSeconds)),
        tpot(histogram("vllm:request_time_per_output_token_seconds",
                       "Mean time between a request's tokens.", kPerToken)),
        older_tpot(histogram("vllm:time_per_output_token_seconds",
                             "The same, by the name that older dashboards have.", kPerToken)),
        inter_token(histogram("vllm:inter_token_latency_seconds",
                              "From a token, or several at once, to the next, by token.",
                              kPerToken)),
        prompt_sizes(
            histogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", kTokens)),
        answer_sizes(histogram("vllm:request_generation_tokens",
                               "Text tokens that a request produced.", kTokens)),
        e2e(histogram("vllm:e2e_request_latency_seconds", "From submission to the end.", kSeconds)),
        queue(histogram("vllm:request_queue_time_seconds", "From submission to the first step.",
                        kSeconds)),
        rtf(histogram("tutti:real_time_factor", "Processing time over audio time.", kFactors)),
        success(prometheus::BuildCounter()
                    .Name("vllm:request_success_total")
                    .Help("Ended requests by finish reason.")
                    .Register(registry)),
        stage_queue(family("tutti:stage_queue_seconds",
                           "From a stage's getting a request to its first step.")),
        stage_compute(family("tutti:stage_compute_seconds", "Steps that a request was in.")),
        stage_transfer(family("tutti:stage_transfer_seconds",
                              "From leaving the stages before to being taken, all chunks.")),
        stage_first(family("tutti:stage_time_to_first_output_seconds",
                           "From a request's submission to a stage's first output.")),
        stage_first_audio(family("tutti:stage_time_to_first_audio_seconds",
                                 "From a request's submission to a stage's first audible sound.")),
        stage_rtf(family("tutti:stage_real_time_factor",
                         "A stage's time in a request over its audio time.")),
        stage_underrun(prometheus::BuildCounter()
                           .Name("tutti:stage_underrun_seconds_total")
                           .Help("Seconds that a stage's listeners waited in silence.")
                           .Register(registry)) {}

  prometheus::Family<Histogram>& family(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }
  // What each stage did for the request.
  void count_stages(const Answer& answer);

  prometheus::Counter& counter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
  }
  Histogram& histogram(const char* name, const char* help,
                       const Histogram::BucketBoundaries& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels,
                                                                                     buckets);
  }

  const ModelInfo& model;
  const Labels labels;
  prometheus::Registry registry;
  prometheus::Counter& prompt_tokens;
  prometheus::Counter& generation_tokens;
  prometheus::Counter& audio_seconds;
  prometheus::Counter& underrun_seconds;
  Histogram& ttft;
  Histogram& ttfa;
  Histogram& tpot;
  Histogram& older_tpot;
  Histogram& inter_token;
  Histogram& prompt_sizes;
  Histogram& answer_sizes;
  Histogram& e2e;
  Histogram& queue;
  Histogram& rtf;
  prometheus::Family<prometheus::Counter>& success;
  prometheus::Family<Histogram>& stage_queue;
  prometheus::Family<Histogram>& stage_compute;
  prometheus::Family<Histogram>& stage_transfer;
  prometheus::Family<Histogram>& stage_first;
  prometheus::Family<Histogram>& stage_first_audio;
  prometheus::Family<Histogram>& stage_rtf;
  prometheus::Family<prometheus::Counter>& stage_underrun;
};

void Metrics::Impl::count_stages(const Answer& answer) {
  const double begin_s = submission_s(answer);
  for (const auto& [id, stage] : answer.stages) {
    Labels of = labels;
    of["stage"] = std::to_string(id);
    of["model_stage"] = model.engine().stage_metadata()[id].model_stage;
    of["replica"] = std::to_string(answer.replicas.at(id));
    const auto observe = [&](prometheus::Family<Histogram>& to, double value,
                             const Histogram::BucketBoundaries& buckets) {
      to.Add(of, buckets).Observe(value);
    };
    if (stage.first_scheduled_s > 0)
      observe(stage_queue, stage.first_scheduled_s - stage.submitted_s, kSeconds);
    observe(stage_compute, stage.compute_s, kSeconds);
    observe(stage_transfer, stage.transfer_s, kPerToken);
    if (stage.first_output_s > 0) observe(stage_first, stage.first_output_s - begin_s, kSeconds);
    if (stage.first_audio_s > 0)
      observe(stage_first_audio, stage.first_audio_s - begin_s, kSeconds);
    if (stage.audio_s <= 0) continue;
    observe(stage_rtf, (stage.finished_s - stage.submitted_s) / stage.audio_s, kFactors);
    stage_underrun.Add(of).Increment(stage.underrun_s);
  }
}

Metrics::Metrics(const ModelInfo& model) : impl_(std::make_unique<Impl>(model)) {}
Metrics::~Metrics() = default;

void Metrics::count(const Answer& answer, const std::string& outcome) {
  Impl& m = *impl_;
  Labels labels = m.labels;
  labels["finished_reason"] = outcome;
  m.success.Add(labels).Increment();
  Usage usage;
  usage.add(answer, m.model);
  m.prompt_tokens.Increment(static_cast<double>(usage.prompt_tokens));
  if (outcome == "error") return;
  m.prompt_sizes.Observe(static_cast<double>(usage.prompt_tokens));
  m.answer_sizes.Observe(static_cast<double>(usage.completion_tokens));
  m.count_stages(answer);
  const Latencies times = latencies(answer, m.model);
  if (times.ttft_s >= 0) m.ttft.Observe(times.ttft_s);
  if (times.ttfa_s >= 0) m.ttfa.Observe(times.ttfa_s);
  m.e2e.Observe(times.total_s);
  if (times.audio_s > 0) m.rtf.Observe(times.total_s / times.audio_s);
  m.underrun_seconds.Increment(times.underrun_s);
  const auto text = answer.stages.find(m.model.text_stage());
  if (text == answer.stages.end()) return;
  const StageMetrics& stage = text->second;
  if (stage.first_scheduled_s > 0) m.queue.Observe(stage.first_scheduled_s - stage.submitted_s);
  if (stage.output_tokens > 1) {
    const double per_token_s =
        (stage.finished_s - stage.first_output_s) / static_cast<double>(stage.output_tokens - 1);
    m.tpot.Observe(per_token_s);
    m.older_tpot.Observe(per_token_s);
  }
}

void Metrics::count_output(const OutputMessage& message, Answer& answer) {
  const StageOutputDelta& delta = message.output;
  if (const auto tokens = static_cast<double>(delta.token_ids.size()); tokens > 0) {
    impl_->generation_tokens.Increment(tokens);
    const TimePoint now = Clock::steady().now();
    if (answer.last_tokens_at != TimePoint())
      impl_->inter_token.Observe(to_seconds(now - answer.last_tokens_at) / tokens);
    answer.last_tokens_at = now;
  }
  if (delta.audio.sample_rate > 0) {
    impl_->audio_seconds.Increment(static_cast<double>(delta.audio.samples.size()) /
                                   delta.audio.sample_rate);
  }
}

std::string Metrics::text() const {
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  for (auto& family : engine_metrics(impl_->model)) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace tutti::serve
