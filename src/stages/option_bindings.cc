#include "stages/option_bindings.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <array>
#include <charconv>
#include <type_traits>

namespace tutti {

namespace {

std::string to_text(bool value) { return value ? "true" : "false"; }
std::string to_text(const std::string& value) { return value; }
std::string to_text(RouterPolicy policy) {
  switch (policy) {
    case RouterPolicy::kLeastOutstanding:
      return "least_outstanding";
    case RouterPolicy::kRoundRobin:
      return "round_robin";
    case RouterPolicy::kSticky:
      return "sticky";
  }
  return {};
}

template <typename T>
  requires std::is_arithmetic_v<T>
std::string to_text(T value) {
  return fmt::format("{}", value);
}

template <typename T>
std::string to_text(const std::vector<T>& values) {
  YAML::Emitter out;
  out << YAML::Flow << YAML::BeginSeq;
  for (const T& value : values) {
    if constexpr (std::is_same_v<T, std::string>) {
      out << YAML::DoubleQuoted << value;
    } else {
      out << value;
    }
  }
  out << YAML::EndSeq;
  return out.c_str();
}

std::string to_text(const std::map<int32_t, float>& values) {
  std::string out;
  for (const auto& [id, bias] : values) {
    out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", id, bias);
  }
  return "{" + out + "}";
}

template <typename T>
std::string to_text(const std::optional<T>& value) {
  return value ? to_text(*value) : std::string();
}

void from_text(const std::string& text, bool& value) { value = text == "true"; }
void from_text(const std::string& text, std::string& value) { value = text; }
void from_text(const std::string& text, RouterPolicy& policy) {
  policy = text == "sticky"        ? RouterPolicy::kSticky
           : text == "round_robin" ? RouterPolicy::kRoundRobin
                                   : RouterPolicy::kLeastOutstanding;
}

template <typename T>
  requires std::is_arithmetic_v<T>
void from_text(const std::string& text, T& value) {
  std::from_chars(text.data(), text.data() + text.size(), value);
}

template <typename T>
void from_text(const std::string& text, std::vector<T>& values) {
  values.clear();
  for (const YAML::Node& item : YAML::Load(text)) values.push_back(item.as<T>());
}

void from_text(const std::string& text, std::map<int32_t, float>& values) {
  values.clear();
  for (const auto& item : YAML::Load(text)) {
    values[item.first.as<int32_t>()] = item.second.as<float>();
  }
}

template <typename T>
void from_text(const std::string& text, std::optional<T>& value) {
  value.reset();
  if (!text.empty()) from_text(text, value.emplace());
}

template <auto Member, typename Options>
constexpr OptionBinding<Options> bind(std::string_view key) {
  return {key, [](const Options& options) { return to_text(options.*Member); },
          [](Options& options, const std::string& text) { from_text(text, options.*Member); }};
}
template <auto Member>
constexpr auto engine(std::string_view key) {
  return bind<Member, EngineOptions>(key);
}
template <auto Member>
constexpr auto stage(std::string_view key) {
  return bind<Member, StageOptions>(key);
}
template <auto Member>
constexpr auto sampling(std::string_view key) {
  return bind<Member, SamplingParams>(key);
}

constexpr auto kEngine = std::to_array<OptionBinding<EngineOptions>>({
    engine<&EngineOptions::async_chunk>("async_chunk"),
    engine<&EngineOptions::tokenizer>("tokenizer"),
    engine<&EngineOptions::dtype>("dtype"),
    engine<&EngineOptions::load_format>("load_format"),
    engine<&EngineOptions::num_threads>("num_threads"),
    engine<&EngineOptions::mm_cache_bytes>("mm_cache_bytes"),
    engine<&EngineOptions::device_memory_bytes>("device_memory_bytes"),
    engine<&EngineOptions::init_timeout_s>("init_timeout"),
    engine<&EngineOptions::stage_init_timeout_s>("stage_init_timeout"),
    engine<&EngineOptions::request_queue_size>("request_queue_size"),
    engine<&EngineOptions::output_queue_size>("output_queue_size"),
    engine<&EngineOptions::max_live_requests>("max_live_requests"),
    engine<&EngineOptions::max_sessions>("max_sessions"),
    engine<&EngineOptions::request_timeout_s>("request_timeout_s"),
    engine<&EngineOptions::max_tokens_per_request>("max_tokens_per_request"),
    engine<&EngineOptions::max_audio_s>("max_audio_s"),
    engine<&EngineOptions::max_pending_updates>("max_pending_updates"),
    engine<&EngineOptions::max_retries>("max_retries"),
    engine<&EngineOptions::replica_wait_s>("replica_wait_s"),
    engine<&EngineOptions::max_loras>("max_loras"),
    engine<&EngineOptions::max_lora_rank>("max_lora_rank"),
    engine<&EngineOptions::allowed_media_domains>("allowed_media_domains"),
    engine<&EngineOptions::allowed_media_path>("allowed_media_path"),
    engine<&EngineOptions::trace_out>("trace_out"),
    engine<&EngineOptions::trace_events>("trace_events"),
    engine<&EngineOptions::otlp_endpoint>("otlp_endpoint"),
    engine<&EngineOptions::max_num_seqs>("max_num_seqs"),
    engine<&EngineOptions::max_num_batched_tokens>("max_num_batched_tokens"),
    engine<&EngineOptions::max_model_len>("max_model_len"),
    engine<&EngineOptions::kv_cache_bytes>("kv_cache_memory_bytes"),
    engine<&EngineOptions::block_size>("block_size"),
    engine<&EngineOptions::enable_prefix_caching>("enable_prefix_caching"),
});

constexpr auto kStage = std::to_array<OptionBinding<StageOptions>>({
    stage<&StageOptions::devices>("devices"),
    stage<&StageOptions::num_replicas>("num_replicas"),
    stage<&StageOptions::worker_process>("worker_process"),
    stage<&StageOptions::router>("router"),
    stage<&StageOptions::max_num_seqs>("max_num_seqs"),
    stage<&StageOptions::max_num_batched_tokens>("max_num_batched_tokens"),
    stage<&StageOptions::max_model_len>("max_model_len"),
    stage<&StageOptions::gpu_memory_utilization>("gpu_memory_utilization"),
    stage<&StageOptions::kv_cache_bytes>("kv_cache_memory_bytes"),
    stage<&StageOptions::block_size>("block_size"),
    stage<&StageOptions::enable_prefix_caching>("enable_prefix_caching"),
});

constexpr auto kSampling = std::to_array<OptionBinding<SamplingParams>>({
    sampling<&SamplingParams::temperature>("temperature"),
    sampling<&SamplingParams::top_k>("top_k"),
    sampling<&SamplingParams::top_p>("top_p"),
    sampling<&SamplingParams::min_p>("min_p"),
    sampling<&SamplingParams::repetition_penalty>("repetition_penalty"),
    sampling<&SamplingParams::frequency_penalty>("frequency_penalty"),
    sampling<&SamplingParams::presence_penalty>("presence_penalty"),
    sampling<&SamplingParams::seed>("seed"),
    sampling<&SamplingParams::max_tokens>("max_tokens"),
    sampling<&SamplingParams::min_tokens>("min_tokens"),
    sampling<&SamplingParams::ignore_eos>("ignore_eos"),
    sampling<&SamplingParams::stop_token_ids>("stop_token_ids"),
    sampling<&SamplingParams::stop>("stop"),
    sampling<&SamplingParams::include_stop_str_in_output>("include_stop_str_in_output"),
    sampling<&SamplingParams::skip_special_tokens>("skip_special_tokens"),
    sampling<&SamplingParams::logprobs>("logprobs"),
    sampling<&SamplingParams::logit_bias>("logit_bias"),
});

}  // namespace

std::span<const OptionBinding<EngineOptions>> engine_bindings() { return kEngine; }
std::span<const OptionBinding<StageOptions>> stage_bindings() { return kStage; }
std::span<const OptionBinding<SamplingParams>> sampling_bindings() { return kSampling; }

const OptionBinding<EngineOptions>* find_engine_binding(std::string_view key) {
  for (const auto& binding : kEngine) {
    if (binding.key == key) return &binding;
  }
  return nullptr;
}

}  // namespace tutti
