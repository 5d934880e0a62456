// tutti-bench-decode: how close an autoregressive stage comes to what the machine can do. Random
// weights of a config's dense dimensions, through the AR engine: decode against copy bandwidth,
// prefill against the FMA peak, both measured in the same run.
#include <fmt/format.h>
#include <simdjson.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "engine/ar/ar_engine.h"
#include "machine.h"
#include "models/pipeline.h"
#include "weights/lora_test_util.h"

namespace tutti {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double best(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}

struct Settings {
  std::string config = TUTTI_SOURCE_DIR "/bench/configs/dense-0.6b";
  int threads = 0;
  int decode_steps = 24;
  int batch = 8;
  int prefill_tokens = 512;
  int prefill_runs = 3;
  int lora_rank = 0;
};

// Elements of the matrices that every token is multiplied with, as the config says.
struct MatrixElements {
  double layers = 0;
  double head = 0;
};

Result<MatrixElements> matrix_elements(const std::string& dir) {
  try {
    simdjson::dom::parser parser;
    const simdjson::dom::element text =
        parser.load(dir + "/config.json")["thinker_config"]["text_config"];
    const auto dim = [&](const char* key) {
      return static_cast<double>(text[key].get_int64().value());
    };
    const double hidden = dim("hidden_size");
    const double queries = dim("num_attention_heads") * dim("head_dim");
    const double keys = dim("num_key_value_heads") * dim("head_dim");
    const double attention = hidden * (2 * queries + 2 * keys);
    const double mlp = 3 * hidden * dim("intermediate_size");
    return MatrixElements{dim("num_hidden_layers") * (attention + mlp), hidden * dim("vocab_size")};
  } catch (const simdjson::simdjson_error& e) {
    return invalid_argument(fmt::format("{}/config.json has no dense thinker: {}.", dir, e.what()));
  }
}

std::string lora_name(int i) { return fmt::format("adapter-{}", i); }

StageRequest request(uint64_t key, int prompt_tokens, int max_tokens) {
  StageRequest request;
  request.key = RequestKey(key);
  for (int i = 0; i < prompt_tokens; ++i)
    request.input.payload.token_ids.push_back(
        static_cast<int32_t>(100 + (key * 37 + i * 11) % 1000));
  request.sampling_params.temperature = 0;
  request.sampling_params.max_tokens = max_tokens;
  request.sampling_params.ignore_eos = true;
  return request;
}

// A machine shared with others changes from one moment to the next, so each step is measured
// between two windows of what the machine does best, and ratios are taken step by step.
struct Times {
  std::vector<double> step_s;
  std::vector<double> host_s;   // of it, outside the model: schedule and publish
  std::vector<double> machine;  // GB/s or GFLOP/s around each step
};

using Rate = FunctionRef<double()>;

// Harmonic mean of a rate over about `seconds`.
double window(Rate rate, double seconds) {
  const auto begin = Clock::now();
  double inverse = 0;
  int count = 0;
  do {
    inverse += 1 / rate();
    ++count;
  } while (seconds_since(begin) < seconds);
  return count / inverse;
}

// One step, timed between windows of half its length; its outputs are dropped.
void timed_step(ar::ArEngine& engine, Rate rate, double window_s, Times& times) {
  std::vector<StageOutput> outputs;
  const double before = window(rate, window_s);
  const auto begin = Clock::now();
  engine.schedule();
  const double schedule = seconds_since(begin);
  engine.run();
  const auto publish = Clock::now();
  engine.publish(outputs);
  times.host_s.push_back(schedule + seconds_since(publish));
  times.step_s.push_back(seconds_since(begin));
  times.machine.push_back(2 / (1 / before + 1 / window(rate, window_s)));
}

// Requests go through `loras` adapters in turn; 0: none.
Result<Times> time_decode(ar::ArEngine& engine, int batch, int steps, Rate rate, int loras = 0) {
  constexpr int kWarmup = 3;
  constexpr double kWindow = 0.02;
  for (int i = 0; i < batch; ++i) {
    StageRequest next = request(static_cast<uint64_t>(i), 16, steps + kWarmup + 1);
    if (loras > 0) next.lora_name = lora_name(i % loras);
    TUTTI_RETURN_IF_ERROR(engine.admit(std::move(next)));
  }
  Times warmup;
  for (int i = 0; i < kWarmup; ++i) timed_step(engine, rate, 0, warmup);
  Times times;
  for (int i = 0; i < steps; ++i) timed_step(engine, rate, kWindow, times);
  for (int i = 0; i < batch; ++i) engine.abort(RequestKey(static_cast<uint64_t>(i)));
  return times;
}

Result<Times> time_prefill(ar::ArEngine& engine, int tokens, int runs, Rate rate) {
  constexpr double kWindow = 0.5;
  Times times;
  for (int i = 0; i < runs; ++i) {
    TUTTI_RETURN_IF_ERROR(engine.admit(request(1000 + static_cast<uint64_t>(i), tokens, 1)));
    timed_step(engine, rate, kWindow, times);
  }
  return times;
}

// Median over the steps of (amount / step time) / what the machine did around it.
double median_ratio(const Times& times, double amount) {
  std::vector<double> ratios;
  for (size_t i = 0; i < times.step_s.size(); ++i)
    ratios.push_back(amount / times.step_s[i] / times.machine[i]);
  return median(ratios);
}

Result<std::unique_ptr<ar::ArEngine>> make_engine(const Settings& settings,
                                                  DeviceExecutor& executor) {
  LoadOptions load;
  load.model_dir = settings.config;
  load.dtype = DType::kBF16;
  load.auto_dtype = false;
  load.dummy_weights = true;
  load.max_num_seqs = settings.batch;
  TUTTI_ASSIGN_OR_RETURN(const std::unique_ptr<Pipeline> pipeline, open_pipeline(load));
  TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<ArModel> model, pipeline->load_ar(0, load));
  StageEngineOptions options;
  options.max_num_seqs = settings.batch;
  options.max_num_batched_tokens = std::max(settings.prefill_tokens, 2048);
  options.max_model_len = settings.prefill_tokens + 256;
  options.max_loras = settings.batch;
  options.enable_prefix_caching = false;  // prompts are computed, whatever came before
  return std::make_unique<ar::ArEngine>(std::move(model), nullptr, executor, options);
}

struct Row {
  std::string name;
  double value;
  std::string unit;
  double target;  // 0: none
};

void print(const std::vector<Row>& rows) {
  fmt::print("{:<44} {:>12} {:<8} {:>8}\n", "measure", "value", "unit", "target");
  for (const Row& row : rows)
    fmt::print("{:<44} {:>12.3f} {:<8} {:>8}\n", row.name, row.value, row.unit,
               row.target > 0 ? fmt::format(">= {}", row.target) : "");
  std::string json;
  for (const Row& row : rows)
    json += fmt::format("{}\"{}\": {:.6g}", json.empty() ? "" : ", ", row.name, row.value);
  fmt::print("{{{}}}\n", json);
}

// bf16 matrices of every linear map, all of one small value.
Status add_adapter(ar::ArEngine& engine, const LoraTargets& targets, int rank,
                   const std::string& name) {
  const auto matrix = [](int64_t rows, int64_t columns) {
    Tensor t = Tensor::empty({rows, columns}, DType::kBF16);
    std::fill_n(t.data<bf16>(), t.num_elements(), to_bf16(1e-3f));
    return t;
  };
  testing::NamedTensors tensors;
  for (const LoraTarget& target : targets.maps) {
    if (target.name.ends_with("lm_head")) continue;
    testing::add_module(tensors, target.name, matrix(rank, target.in_features),
                        matrix(target.out_features, rank));
  }
  const testing::TempFolder folder;
  testing::write_adapter(folder, testing::peft_config(rank, rank), tensors);
  const auto added = engine.control(
      "add_lora",
      fmt::format(R"({{"lora_name": "{}", "lora_path": "{}"}})", name, folder.path().string()));
  return added->status();
}

// What adapters of all linear maps cost a decode step, against the same steps without.
Status bench_adapters(const Settings& settings, ar::ArEngine& engine, Rate copy) {
  for (int i = 0; i < settings.batch; ++i) {
    TUTTI_RETURN_IF_ERROR(
        add_adapter(engine, engine.model().lora_targets(), settings.lora_rank, lora_name(i)));
  }
  std::vector<Row> rows;
  double plain = 0;
  for (const int loras : {0, 1, settings.batch}) {
    TUTTI_ASSIGN_OR_RETURN(const Times times,
                           time_decode(engine, settings.batch, settings.decode_steps, copy, loras));
    if (loras == 0) plain = best(times.step_s);
    const std::string what = fmt::format("decode batch {}, {} adapters of rank {}", settings.batch,
                                         loras, settings.lora_rank);
    rows.push_back({what + ", best step", best(times.step_s) * 1e3, "ms", 0});
    rows.push_back({what + ", median step", median(times.step_s) * 1e3, "ms", 0});
    rows.push_back({what + ", over none", best(times.step_s) / plain, "x", 0});
  }
  print(rows);
  return {};
}

// The pool is idle between steps.
ThreadPool& pool_of(DeviceExecutor& executor) {
  ThreadPool* pool = nullptr;
  executor.run({}, [&](OpContext& ctx) { pool = ctx.pool; });
  return *pool;
}

Status bench(const Settings& settings) {
  TUTTI_ASSIGN_OR_RETURN(const MatrixElements elements, matrix_elements(settings.config));
  const auto executor = DeviceExecutor::create_cpu(settings.threads);
  const auto begin = Clock::now();
  TUTTI_ASSIGN_OR_RETURN(const std::unique_ptr<ar::ArEngine> engine,
                         make_engine(settings, *executor));
  const double load_s = seconds_since(begin);
  op_check::Machine machine(pool_of(*executor));
  const auto copy = [&] { return machine.copy_gb_s(); };
  const auto multiply = [&] { return machine.gflops(); };
  if (settings.lora_rank > 0) return bench_adapters(settings, *engine, copy);
  TUTTI_ASSIGN_OR_RETURN(const Times one, time_decode(*engine, 1, settings.decode_steps, copy));
  TUTTI_ASSIGN_OR_RETURN(const Times many,
                         time_decode(*engine, settings.batch, settings.decode_steps, copy));
  TUTTI_ASSIGN_OR_RETURN(const Times prefill, time_prefill(*engine, settings.prefill_tokens,
                                                           settings.prefill_runs, multiply));

  const double weight_gb = (elements.layers + elements.head) * 2 / 1e9;
  const double prefill_gflop =
      2 * (elements.layers * settings.prefill_tokens + elements.head) / 1e9;
  const double gain = settings.batch * median(one.step_s) / median(many.step_s);
  print({
      {"threads", static_cast<double>(executor->num_threads()), "", 0},
      {"load, random weights", load_s, "s", 0},
      {"weights read per token", weight_gb, "GB", 0},
      {"copy bandwidth, read + written, median", median(one.machine), "GB/s", 0},
      {"fp32 FMA peak, median", median(prefill.machine), "GFLOP/s", 0},
      {"decode batch 1, median step", median(one.step_s) * 1e3, "ms", 0},
      {"decode batch 1, best step", best(one.step_s) * 1e3, "ms", 0},
      {"decode batch 1, weights, best", weight_gb / best(one.step_s), "GB/s", 0},
      {"decode batch 1, weights / copy bandwidth", median_ratio(one, weight_gb), "", 0.75},
      {fmt::format("decode batch {}, median step", settings.batch), median(many.step_s) * 1e3, "ms",
       0},
      {fmt::format("decode batch {}, best step", settings.batch), best(many.step_s) * 1e3, "ms", 0},
      {fmt::format("decode batch {}, tokens/s over batch 1", settings.batch), gain, "x", 4},
      {"the same, best steps", settings.batch * best(one.step_s) / best(many.step_s), "x", 0},
      {fmt::format("engine host time per step, batch {}", settings.batch),
       median(many.host_s) * 1e6, "us", 0},
      {fmt::format("prefill {} tokens, median", settings.prefill_tokens),
       median(prefill.step_s) * 1e3, "ms", 0},
      {fmt::format("prefill {} tokens, best", settings.prefill_tokens), best(prefill.step_s) * 1e3,
       "ms", 0},
      {"prefill, linear layers, best", prefill_gflop / best(prefill.step_s), "GFLOP/s", 0},
      {"prefill / fp32 FMA peak", median_ratio(prefill, prefill_gflop), "", 0.6},
  });
  return {};
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  tutti::Settings settings;
  CLI::App app{"Measures decode and prefill of an autoregressive stage with random bf16 weights."};
  app.add_option("config", settings.config, "directory with a dense config.json");
  app.add_option("--threads", settings.threads, "CPU threads; 0: all cores");
  app.add_option("--decode-steps", settings.decode_steps, "steps timed per batch size");
  app.add_option("--batch", settings.batch, "the larger batch");
  app.add_option("--prefill-tokens", settings.prefill_tokens, "length of the prompt");
  app.add_option("--prefill-runs", settings.prefill_runs, "prompts timed");
  app.add_option("--lora-rank", settings.lora_rank,
                 "measure adapters of that rank instead; 0: none");
  CLI11_PARSE(app, argc, argv);
  const tutti::Status status = tutti::bench(settings);
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", status.message());
  return 1;
}
