#include "serve/engine_metrics.h"

#include <map>
#include <string>

namespace tutti::serve {
namespace {

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

std::vector<prometheus::MetricFamily> engine_metrics(const ModelInfo& model) {
  const Labels labels{{"model_name", model.name()}};
  const OmniStats stats = model.engine().stats();
  auto running = gauge_family("vllm:num_requests_running", "Requests in progress.");
  auto waiting = gauge_family("vllm:num_requests_waiting", "Requests in the queue.");
  auto kv = gauge_family("vllm:kv_cache_usage_perc", "Share of the KV blocks in use, 0 to 1.");
  auto sequences = gauge_family("tutti:stage_sequences", "Sequences of a replica by state.");
  auto up = gauge_family("tutti:replica_up", "1 when the replica is ready.");
  auto queues = gauge_family("tutti:queue_size", "Messages in a queue.");
  auto capacities = gauge_family("tutti:queue_capacity", "Messages that a queue holds at most.");
  auto high_waters = gauge_family("tutti:queue_high_water", "The most that it has held.");
  auto queries = gauge_family("vllm:prefix_cache_queries_total",
                              "Prompt tokens looked up in the prefix cache.");
  auto hits = gauge_family("vllm:prefix_cache_hits_total", "Of these, tokens that were there.");
  auto retried =
      gauge_family("tutti:requests_retried_total", "Requests begun again after a replica's death.");
  auto busy = gauge_family("tutti:stage_busy_seconds_total", "Seconds inside steps.");
  auto steps = gauge_family("tutti:stage_steps_total", "Batched forwards.");
  auto preemptions =
      gauge_family("vllm:num_preemptions_total", "Sequences that gave their blocks back.");
  for (auto* family : {&retried, &busy, &steps, &preemptions, &queries, &hits}) {
    family->type = prometheus::MetricType::Counter;
  }
  add_value(running, labels, static_cast<double>(stats.live_requests));
  add_value(waiting, labels, static_cast<double>(stats.waiting_requests));
  add_value(retried, labels, static_cast<double>(stats.retried));
  for (const QueueInfo& queue_info : stats.queues) {
    const Labels of{{"queue", queue_info.name}};
    add_value(queues, of, static_cast<double>(queue_info.size));
    add_value(capacities, of, static_cast<double>(queue_info.capacity));
    add_value(high_waters, of, static_cast<double>(queue_info.high_water));
  }
  for (const StagePoolInfo& pool : stats.pools) {
    for (const ReplicaInfo& replica : pool.replicas) {
      const Labels of{{"model_name", model.name()},
                      {"stage", std::to_string(pool.stage_id)},
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
        add_value(queries, of, static_cast<double>(replica.prefix_query_tokens));
        add_value(hits, of, static_cast<double>(replica.prefix_hit_tokens));
        add_value(kv, of,
                  static_cast<double>(replica.kv_blocks_used) /
                      static_cast<double>(replica.kv_blocks_total));
      }
    }
  }
  return {running,     waiting, kv,   sequences, up,   queues, capacities,
          high_waters, queries, hits, retried,   busy, steps,  preemptions};
}

}  // namespace tutti::serve
