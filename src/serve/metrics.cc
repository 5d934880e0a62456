#include "serve/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace tutti::serve {
namespace {

using prometheus::Histogram;

const Histogram::BucketBoundaries kSeconds{0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6,
                                           1.2,   2.5,  5,    10,   20,   40,   80};
const Histogram::BucketBoundaries kPerToken{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02,
                                            0.05,   0.1,   0.2,   0.5,   1};
const Histogram::BucketBoundaries kFactors{0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 4};

using Labels = std::map<std::string, std::string>;

prometheus::MetricFamily gauge_family(std::string name, std::string help) {
  prometheus::MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = prometheus::MetricType::Gauge;
  return family;
}

void add_value(prometheus::MetricFamily& family, const Labels& labels, double value) {
  prometheus::ClientMetric metric;
  for (const auto& [name, text] : labels) metric.label.push_back({name, text});
  if (family.type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  family.metric.push_back(std::move(metric));
}

}  // namespace

struct Metrics::Impl {
  explicit Impl(const ModelInfo& m)
      : model(m),
        labels{{"model_name", m.name()}},
        prompt_tokens(counter("vllm:prompt_tokens_total", "Prompt tokens of ended requests.")),
        cached_tokens(
            counter("vllm:prefix_cache_hits_total", "Prompt tokens from the prefix cache.")),
        generation_tokens(counter("vllm:generation_tokens_total", "Text tokens produced.")),
        audio_seconds(counter("tutti:audio_seconds_total", "Seconds of sound produced.")),
        underrun_seconds(counter("tutti:underrun_seconds_total",
                                 "Seconds that listeners waited in silence after playback began.")),
        ttft(histogram("vllm:time_to_first_token_seconds", "From submission to the first token.",
                       kSeconds)),
        ttfa(histogram("tutti:time_to_first_audio_seconds",
                       "From submission to the first audible sound.", kSeconds)),
        tpot(histogram("vllm:time_per_output_token_seconds",
                       "Mean time between a request's tokens.", kPerToken)),
        e2e(histogram("vllm:e2e_request_latency_seconds", "From submission to the end.", kSeconds)),
        queue(histogram("vllm:request_queue_time_seconds", "From submission to the first step.",
                        kSeconds)),
        rtf(histogram("tutti:real_time_factor", "Processing time over audio time.", kFactors)),
        success(prometheus::BuildCounter()
                    .Name("vllm:request_success_total")
                    .Help("Ended requests by finish reason.")
                    .Register(registry)),
        http(prometheus::BuildCounter()
                 .Name("tutti:http_responses_total")
                 .Help("Answers by status.")
                 .Register(registry)) {}

  prometheus::Counter& counter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
  }
  Histogram& histogram(const char* name, const char* help,
                       const Histogram::BucketBoundaries& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels,
                                                                                     buckets);
  }

  std::vector<prometheus::MetricFamily> engine_families() const;

  const ModelInfo& model;
  const Labels labels;
  prometheus::Registry registry;
  prometheus::Counter& prompt_tokens;
  prometheus::Counter& cached_tokens;
  prometheus::Counter& generation_tokens;
  prometheus::Counter& audio_seconds;
  prometheus::Counter& underrun_seconds;
  Histogram& ttft;
  Histogram& ttfa;
  Histogram& tpot;
  Histogram& e2e;
  Histogram& queue;
  Histogram& rtf;
  prometheus::Family<prometheus::Counter>& success;
  prometheus::Family<prometheus::Counter>& http;
};

// What only the engine knows, at this moment.
std::vector<prometheus::MetricFamily> Metrics::Impl::engine_families() const {
  const OmniStats stats = model.engine().stats();
  auto running = gauge_family("vllm:num_requests_running", "Requests in progress.");
  auto waiting = gauge_family("vllm:num_requests_waiting", "Requests in the queue.");
  auto kv = gauge_family("vllm:kv_cache_usage_perc", "Share of the KV blocks in use, 0 to 1.");
  auto sequences = gauge_family("tutti:stage_sequences", "Sequences of a replica by state.");
  auto up = gauge_family("tutti:replica_up", "1 when the replica is ready.");
  auto queues = gauge_family("tutti:queue_size", "Messages in a queue.");
  auto retried =
      gauge_family("tutti:requests_retried_total", "Requests begun again after a replica's death.");
  auto busy = gauge_family("tutti:stage_busy_seconds_total", "Seconds inside steps.");
  auto steps = gauge_family("tutti:stage_steps_total", "Batched forwards.");
  auto preemptions =
      gauge_family("vllm:num_preemptions_total", "Sequences that gave their blocks back.");
  for (auto* family : {&retried, &busy, &steps, &preemptions}) {
    family->type = prometheus::MetricType::Counter;
  }
  add_value(running, labels, static_cast<double>(stats.live_requests));
  add_value(waiting, labels, static_cast<double>(stats.waiting_requests));
  add_value(retried, labels, static_cast<double>(stats.retried));
  for (const QueueInfo& queue_info : stats.queues) {
    add_value(queues, {{"queue", queue_info.name}}, static_cast<double>(queue_info.size));
  }
  for (const StagePoolInfo& pool : stats.pools) {
    for (const ReplicaInfo& replica : pool.replicas) {
      const Labels of{{"stage", std::to_string(pool.stage_id)},
                      {"model_stage", model.engine().stage_metadata()[pool.stage_id].model_stage},
                      {"replica", std::to_string(replica.replica_id)}};
      const auto with = [&](const char* state) {
        Labels out = of;
        out["state"] = state;
        return out;
      };
      add_value(up, of, replica.state == "ready" ? 1 : 0);
      add_value(busy, of, replica.busy_s);
      add_value(steps, of, static_cast<double>(replica.steps));
      add_value(preemptions, of, static_cast<double>(replica.preemptions));
      add_value(sequences, with("waiting"), static_cast<double>(replica.waiting));
      add_value(sequences, with("running"), static_cast<double>(replica.running));
      add_value(sequences, with("blocked"), static_cast<double>(replica.blocked));
      if (replica.kv_blocks_total > 0) {
        add_value(kv, of,
                  static_cast<double>(replica.kv_blocks_used) /
                      static_cast<double>(replica.kv_blocks_total));
      }
    }
  }
  return {running, waiting, kv, sequences, up, queues, retried, busy, steps, preemptions};
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
  m.cached_tokens.Increment(static_cast<double>(usage.cached_tokens));
  if (outcome == "error") return;
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
    m.tpot.Observe((stage.finished_s - stage.first_output_s) /
                   static_cast<double>(stage.output_tokens - 1));
  }
}

void Metrics::count_tokens(int64_t tokens) {
  if (tokens > 0) impl_->generation_tokens.Increment(static_cast<double>(tokens));
}

void Metrics::count_audio(double seconds) { impl_->audio_seconds.Increment(seconds); }

void Metrics::count_http(int status) {
  impl_->http.Add({{"status", std::to_string(status)}}).Increment();
}

std::string Metrics::text() const {
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  for (auto& family : impl_->engine_families()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace tutti::serve
