#include "orchestrator/input_processing.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/random.h"
#include "base/seed.h"
#include "base/strings.h"
#include "orchestrator/tokenization.h"
#include "stages/replica_core.h"
#include "text/tokenizer.h"

namespace tutti {
namespace {

std::string numbers(const std::vector<int32_t>& ids) {
  std::vector<std::string> names;
  for (const int32_t id : ids) names.push_back(std::to_string(id));
  return join(names);
}

double seconds_since_unix_epoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Status check_embeds(const EmbedsPrompt& prompt) {
  const auto count = static_cast<int64_t>(prompt.values.size());
  if (prompt.hidden_size > 0 && count > 0 && count % prompt.hidden_size == 0) return {};
  return invalid_argument(
             fmt::format("The prompt has {} values in rows of {}; it must have at least one whole "
                         "row.",
                         count, prompt.hidden_size))
      .with_param("prompt");
}

// What nobody answers does not end with the beginning of an answer; its last message may stay open.
void close_silent_turn(RequestSegment& segment, Prompt& prompt) {
  auto* chat = std::get_if<ChatPrompt>(&prompt);
  if (!chat || !is_silent(segment)) return;
  chat->add_generation_prompt = false;
  if (chat->continue_final_message && !chat->messages.empty())
    segment.open_role = chat->messages.back().role;
}

// A message that was left open is the first one of the next segment.
Status check_open_message(const std::string& open_role, const Prompt& prompt) {
  const auto* chat = std::get_if<ChatPrompt>(&prompt);
  if (open_role.empty() || !chat || chat->messages.empty()) return {};
  const std::string& role = chat->messages.front().role;
  if (role == open_role) return {};
  return invalid_argument(fmt::format("The first message is of '{}'; the one that was left open is "
                                      "of '{}'.",
                                      role, open_role))
      .with_param("messages");
}

}  // namespace

bool is_silent(const RequestSegment& segment) {
  return segment.sampling_params.front().max_tokens == 0;
}

RequestProcessor::RequestProcessor(std::shared_ptr<const Pipeline> pipeline,
                                   std::shared_ptr<const StageGraph> graph,
                                   std::vector<SamplingParams> default_sampling_params,
                                   RequestLimits limits)
    : pipeline_(std::move(pipeline)),
      graph_(std::move(graph)),
      default_sampling_params_(std::move(default_sampling_params)),
      limits_(std::move(limits)) {}

Result<std::vector<int32_t>> RequestProcessor::wanted_outputs(
    const std::vector<int32_t>& ids, std::optional<int32_t> final_stage_id) const {
  const std::vector<int32_t>& known = graph_->final_stages();
  std::vector<int32_t> wanted = ids.empty() ? known : ids;
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  for (const int32_t stage : wanted) {
    if (std::count(known.begin(), known.end(), stage) > 0) continue;
    return invalid_argument(
               fmt::format(
                   "`final_output_stage_ids` has {}; the stages with a final output are {}.", stage,
                   numbers(known)))
        .with_param("final_output_stage_ids");
  }
  if (!final_stage_id) return wanted;
  if (*final_stage_id < 0 || *final_stage_id >= graph_->size()) {
    return invalid_argument(
               fmt::format("`final_stage_id` is {}; this model has the stages 0 to {}.",
                           *final_stage_id, graph_->size() - 1))
        .with_param("final_stage_id");
  }
  const std::vector<int32_t> asked = wanted;
  std::erase_if(wanted, [&](int32_t stage) { return stage > *final_stage_id; });
  if (wanted.empty()) {
    return invalid_argument(
               fmt::format("`final_stage_id` is {}; the outputs asked for are of the stages {}, so "
                           "nothing is left to put out.",
                           *final_stage_id, numbers(asked)))
        .with_param("final_stage_id");
  }
  return wanted;
}

Result<std::vector<SamplingParams>> RequestProcessor::sampling_params(
    std::vector<SamplingParams> given, const std::vector<SamplingParams>& otherwise,
    bool may_be_silent) const {
  std::vector<SamplingParams> params = given.empty() ? otherwise : std::move(given);
  if (params.size() != default_sampling_params_.size()) {
    return invalid_argument(
               fmt::format("`sampling_params_list` has {} entries; this model has {} stages.",
                           params.size(), default_sampling_params_.size()))
        .with_param("sampling_params_list");
  }
  for (int32_t s = 0; s < graph_->size(); ++s) {
    const bool silent = may_be_silent && params[s].max_tokens == 0;
    if (silent) params[s].max_tokens.reset();
    Status status = params[s].validate();
    if (silent) params[s].max_tokens = 0;
    // Of one stage there is only one that can be meant.
    if (!status.ok() && graph_->size() == 1) return status;
    if (!status.ok()) {
      return std::move(status).with_context("Sampling parameters of " + graph_->describe(s));
    }
  }
  if (const int32_t limit = limits_.max_tokens_per_request; limit > 0) limit_tokens(limit, params);
  return params;
}

void RequestProcessor::limit_tokens(int32_t limit, std::vector<SamplingParams>& params) const {
  for (int32_t s = 0; s < graph_->size(); ++s) {
    if (graph_->spec(s).type != StageType::kLlm) continue;
    params[s].max_tokens = std::min(params[s].max_tokens.value_or(limit), limit);
    params[s].min_tokens = std::min(params[s].min_tokens, limit);
  }
}

Result<StageInput> RequestProcessor::stage_input(const Prompt& prompt,
                                                 const PromptOptions& options) const {
  if (const auto* embeds = std::get_if<EmbedsPrompt>(&prompt)) {
    TUTTI_RETURN_IF_ERROR(check_embeds(*embeds));
  }
  try {
    return pipeline_->process_prompt(prompt, options);
  } catch (...) {
    return status_of_current_exception("Processing the prompt");
  }
}

Status RequestProcessor::truncate(std::optional<int64_t> most_tokens, StageInput& input) const {
  std::vector<int32_t>& ids = input.payload.token_ids;
  const auto tokens = static_cast<int64_t>(ids.size());
  int64_t most = most_tokens.value_or(0);
  if (most < 0) most = limits_.max_prompt_tokens;
  if (most > 0 && tokens > most) {
    // Rows of media belong to their placeholders.
    if (!input.payload.tensors.empty()) {
      return invalid_argument(
                 fmt::format(
                     "`truncate_prompt_tokens` is {} and the prompt has {} tokens; a prompt "
                     "with media or embeddings cannot be truncated.",
                     most, tokens))
          .with_param("tokenization_kwargs");
    }
    ids.erase(ids.begin(), ids.end() - most);
  }
  const auto left = static_cast<int64_t>(ids.size());
  if (limits_.max_prompt_tokens == 0 || left <= limits_.max_prompt_tokens) return {};
  return invalid_argument(
             fmt::format("The prompt has {} tokens; the context holds {}, of which at least one is "
                         "for the answer.",
                         left, limits_.max_prompt_tokens + 1))
      .with_param("prompt");
}

Status RequestProcessor::check_rank(const AcceptedRequest& accepted) const {
  if (!accepted.data_parallel_rank || !limits_.replicas) return {};
  const int32_t rank = *accepted.data_parallel_rank;
  const std::vector<uint8_t> needed = graph_->needed_for(accepted.final_output_stage_ids);
  for (int32_t s = 0; s < graph_->size(); ++s) {
    if (!needed[s]) continue;
    const std::vector<int32_t> replicas = limits_.replicas(s);
    if (std::count(replicas.begin(), replicas.end(), rank) > 0) continue;
    return invalid_argument(fmt::format("`data_parallel_rank` is {}; {} has: {}.", rank,
                                        graph_->describe(s), numbers(replicas)))
        .with_param("data_parallel_rank");
  }
  return {};
}

Result<double> RequestProcessor::arrival(std::optional<double> unix_s) const {
  const double unix_now_s = seconds_since_unix_epoch();
  const double arrival = unix_s.value_or(unix_now_s);
  if (!std::isfinite(arrival) || arrival < 0) {
    return invalid_argument(fmt::format("`arrival_time` is {}; it must be in seconds since the "
                                        "epoch.",
                                        arrival))
        .with_param("arrival_time");
  }
  // Callers' clocks may be ahead.
  const double now_s = to_seconds(Clock::steady().now() - limits_.epoch);
  return now_s - std::max(unix_now_s - arrival, 0.0);
}

Status RequestProcessor::set_times(const AddRequest& request, AcceptedRequest& accepted) const {
  const TimePoint now = Clock::steady().now();
  TUTTI_ASSIGN_OR_RETURN(accepted.arrival_s, arrival(request.arrival_time));
  const double limit = limits_.request_timeout_s;
  const double timeout = request.timeout_s.value_or(limit);
  if (std::isnan(timeout) || (request.timeout_s && timeout <= 0)) {
    return invalid_argument(fmt::format("`timeout_s` is {}; it must be larger than 0.", timeout))
        .with_param("timeout_s");
  }
  const double lives = limit > 0 ? std::min(timeout, limit) : timeout;
  if (lives <= 0) return {};
  accepted.deadline = now + from_seconds(lives);
  accepted.timeout_s = lives;
  return {};
}

void RequestProcessor::draw_seeds(RequestSegment& segment) const {
  const uint64_t drawn = draw_seed();
  for (int32_t s = 0; s < graph_->size(); ++s) {
    const uint64_t own = mix64(drawn + static_cast<uint64_t>(s));
    segment.seeds.push_back(segment.sampling_params[s].seed.value_or(own));
  }
}

Result<std::vector<int32_t>> RequestProcessor::prompt_token_ids(const Prompt& prompt) const {
  TUTTI_ASSIGN_OR_RETURN(StageInput input, stage_input(prompt, {}));
  return std::move(input.payload.token_ids);
}

Result<std::string> RequestProcessor::detokenize(std::span<const int32_t> ids) const {
  const auto tokenizer = pipeline_->tokenizer();
  if (!tokenizer) return unimplemented("This model has no tokenizer.");
  for (const int32_t id : ids) {
    if (id >= 0 && id < tokenizer->vocab_size()) continue;
    return invalid_argument(fmt::format("`tokens` has {}; the vocabulary has ids 0 to {}.", id,
                                        tokenizer->vocab_size() - 1))
        .with_param("tokens");
  }
  return tokenizer->decode(ids);
}

std::string RequestProcessor::token_text(int32_t id) const {
  const auto tokenizer = pipeline_->tokenizer();
  if (!tokenizer || id < 0 || id >= tokenizer->vocab_size()) return {};
  return std::string(tokenizer->token_bytes(id));
}

Result<std::unique_ptr<AcceptedRequest>> RequestProcessor::process(AddRequest request) const {
  auto accepted = std::make_unique<AcceptedRequest>();
  RequestSegment& segment = accepted->segment;
  TUTTI_RETURN_IF_ERROR(set_times(request, *accepted));
  TUTTI_ASSIGN_OR_RETURN(accepted->final_output_stage_ids,
                         wanted_outputs(request.final_output_stage_ids, request.final_stage_id));
  TUTTI_ASSIGN_OR_RETURN(segment.sampling_params,
                         sampling_params(std::move(request.sampling_params_list),
                                         default_sampling_params_, request.resumable));
  accepted->data_parallel_rank = request.data_parallel_rank;
  TUTTI_RETURN_IF_ERROR(check_rank(*accepted));
  TUTTI_ASSIGN_OR_RETURN(const Tokenization tokenization,
                         parse_tokenization(request.tokenization_kwargs_json));
  std::string voice;
  if (!request.voice.empty() || !pipeline_->voices().empty()) {
    TUTTI_ASSIGN_OR_RETURN(voice, pipeline_->resolve_voice(request.voice));
  }
  const PromptOptions options{.add_special_tokens = tokenization.add_special_tokens};
  close_silent_turn(segment, request.prompt);
  TUTTI_ASSIGN_OR_RETURN(segment.input, stage_input(request.prompt, options));
  TUTTI_RETURN_IF_ERROR(truncate(tokenization.truncate_prompt_tokens, segment.input));
  segment.input.voice = std::move(voice);
  segment.input.resumable = request.resumable;
  segment.last = !request.resumable;
  draw_seeds(segment);
  accepted->request_id = std::move(request.request_id);
  accepted->priority = request.priority;
  accepted->route_hash = route_hash(request.prompt, segment.input);
  if (request.lora_request) {
    accepted->lora_name = std::move(request.lora_request->lora_name);
    accepted->lora_path = std::move(request.lora_request->lora_path);
  }
  accepted->reasoning_ended = request.reasoning_ended;
  accepted->prompt_text = std::move(request.prompt_text);
  accepted->trace_headers = std::move(request.trace_headers);
  return accepted;
}

Result<RequestSegment> RequestProcessor::process(StreamingUpdate update,
                                                 const SegmentContext& began) const {
  if (update.final_stage_id || !update.final_output_stage_ids.empty()) {
    TUTTI_ASSIGN_OR_RETURN(const std::vector<int32_t> wanted,
                           wanted_outputs(update.final_output_stage_ids, update.final_stage_id));
    if (wanted != began.final_output_stage_ids) {
      return invalid_argument(
                 fmt::format(
                     "The update wants the outputs of the stages {}; the request began with "
                     "{}.",
                     numbers(wanted), numbers(began.final_output_stage_ids)))
          .with_param("final_output_stage_ids");
    }
  }
  RequestSegment segment;
  TUTTI_ASSIGN_OR_RETURN(segment.arrival_s, arrival(update.arrival_time));
  TUTTI_ASSIGN_OR_RETURN(
      segment.sampling_params,
      sampling_params(std::move(update.sampling_params_list), began.sampling_params, true));
  const int32_t limit = limits_.max_tokens_per_request;
  if (limit > 0 && !is_silent(segment)) {
    if (began.tokens_used >= limit) {
      return resource_exhausted(
                 fmt::format("The request has used {} tokens of the {} that its answers may have "
                             "(`max_tokens_per_request`).",
                             began.tokens_used, limit))
          .with_param("max_tokens");
    }
    limit_tokens(static_cast<int32_t>(limit - began.tokens_used), segment.sampling_params);
  }
  PromptOptions options;
  options.continues = true;
  options.after_answer = began.after_answer;
  options.in_message = !began.open_role.empty();
  TUTTI_RETURN_IF_ERROR(check_open_message(began.open_role, update.prompt));
  close_silent_turn(segment, update.prompt);
  TUTTI_ASSIGN_OR_RETURN(segment.input, stage_input(update.prompt, options));
  TUTTI_RETURN_IF_ERROR(truncate({}, segment.input));
  segment.input.resumable = update.resumable;
  segment.last = !update.resumable;
  draw_seeds(segment);
  return segment;
}

uint64_t route_hash(const Prompt& prompt, const StageInput& input) {
  constexpr size_t kFirstTokens = 64;
  uint64_t hash = 1;
  const auto add = [&](std::string_view text) {
    hash = mix64(hash ^ std::hash<std::string_view>{}(text));
  };
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) {
    for (const ChatMessage& message : chat->messages) {
      add(message.role);
      for (const ContentPart& part : message.content) {
        add(part.text);
        if (!part.media) continue;
        add(part.media->path_or_url);
        if (part.media->bytes) {
          const auto& bytes = *part.media->bytes;
          add({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        }
      }
      if (message.role == "user") break;
    }
  } else {
    const auto& ids = input.payload.token_ids;
    for (size_t i = 0; i < std::min(ids.size(), kFirstTokens); ++i) {
      hash = mix64(hash ^ static_cast<uint64_t>(ids[i]));
    }
  }
  return hash | 1;
}

}  // namespace tutti
