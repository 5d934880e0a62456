#include "engine/ar/ar_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "engine/ar/step_order.h"

namespace tutti::ar {

namespace {

int64_t context_length(const ArModelInfo& info, const StageEngineOptions& options) {
  if (options.max_model_len <= 0) return info.max_model_len;
  return std::min(options.max_model_len, info.max_model_len);
}

SchedulerLimits limits_of(const StageEngineOptions& options) {
  return {options.max_num_seqs, options.max_num_batched_tokens};
}

bool contains(std::span<const int32_t> ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

ArEngine::ArEngine(std::unique_ptr<ArModel> model, std::shared_ptr<const text::Tokenizer> tokenizer,
                   DeviceExecutor& executor, const StageEngineOptions& options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      executor_(executor),
      options_(options),
      context_length_(context_length(model_->info(), options)),
      blocks_(kv_num_blocks(model_->info(), options, context_length_), options.block_size),
      max_sequence_length_(std::min(context_length_, blocks_.num_blocks() * blocks_.block_size())),
      kv_cache_(model_->info(), blocks_.num_blocks(), options.block_size),
      loras_(model_->lora_targets(), options.max_loras, options.max_lora_rank),
      prefixes_(*model_, blocks_, options.enable_prefix_caching),
      scheduler_(*model_, blocks_, prefixes_, limits_of(options)),
      batch_(limits_of(options), blocks_.blocks_for(max_sequence_length_)),
      sampler_(model_->info(), options.max_num_seqs),
      outputs_(options.clock, options.epoch) {
  const auto rows = static_cast<size_t>(options.max_num_seqs);
  sample_rows_.reserve(rows);
  ends_.reserve(rows);
  row_params_.reserve(rows);
  row_seeds_.reserve(rows);
}

Status ArEngine::admit(StageRequest request) {
  const RequestKey key = request.key;
  if (sequences_.contains(key))
    return {StatusCode::kAlreadyExists,
            fmt::format("Request {} is already in this stage.", request.request_id)};
  const bool resumable = request.input.resumable;
  TUTTI_RETURN_IF_ERROR(check_params(request.sampling_params, resumable));

  std::shared_ptr<const LoraAdapter> lora;
  if (!request.lora_name.empty()) {
    TUTTI_ASSIGN_OR_RETURN(lora, loras_.use(request.lora_name, request.lora_path));
  }
  const bool input_complete = request.input.last;
  TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<ArSequence> state, model_->start(request.input));
  // The model has taken what it needs; prompts may be large.
  request.input.payload = {};
  auto sequence = std::make_unique<Sequence>(std::move(request), tokenizer_);
  sequence->model = std::move(state);
  sequence->lora = std::move(lora);
  sequence->takes_segments = resumable;
  sequence->arrival = num_admitted_++;
  sequence->submitted = outputs_.now();
  sequence->metrics.submitted_s = outputs_.seconds(sequence->submitted);
  sequence->metrics.transfer_s = sequence->request.transfer_s;
  if (!model_->ends_empty(*sequence->model))
    TUTTI_RETURN_IF_ERROR(settle_prompt(*sequence, input_complete));

  Sequence& admitted = *sequence;
  sequences_.emplace(key, std::move(sequence));
  scheduler_.add(admitted);
  if (model_->ends_empty(*admitted.model)) end_empty(admitted);
  return {};
}

void ArEngine::append(StageChunk chunk) {
  const auto found = sequences_.find(chunk.key);
  if (found == sequences_.end()) return;
  Sequence& sequence = *found->second;
  sequence.metrics.transfer_s += chunk.transfer_s;
  Status status = model_->append(*sequence.model, std::move(chunk.payload), chunk.last);
  if (status.ok() && sequence.num_computed == 0 && model_->ends_empty(*sequence.model)) {
    end_empty(sequence);
    return;
  }
  if (status.ok()) status = settle_prompt(sequence, chunk.last);
  if (status.ok()) end_rest_if_fed(sequence);
  if (!status.ok()) end_with_error(sequence, std::move(status), outputs_.early());
}

std::optional<StageOutput> ArEngine::abort(RequestKey key) {
  outputs_.drop_early(key);
  const auto found = sequences_.find(key);
  if (found == sequences_.end()) return std::nullopt;
  Sequence& sequence = *found->second;
  StageOutput rest = outputs_.rest(sequence);
  forget(sequence);
  return rest;
}

bool ArEngine::has_runnable_work() const {
  return outputs_.has_early() || scheduler_.has_runnable_work() || wake_at() <= outputs_.now();
}

void ArEngine::step(std::vector<StageOutput>& outputs) {
  report_.begin = outputs_.now();
  schedule();
  report_.scheduled = outputs_.now();
  report_.sequences = std::ssize(scheduled_);
  run();
  report_.ran = outputs_.now();
  report_.tokens = scheduled_.empty() ? 0 : batch_.num_tokens();
  report_.on_device_s = step_s_;
  publish(outputs);
  report_.published = outputs_.now();
}

EngineStats ArEngine::stats() const {
  EngineStats stats;
  stats.waiting = scheduler_.num_waiting();
  stats.running = scheduler_.num_running();
  stats.blocked = scheduler_.num_blocked();
  stats.kv_blocks_total = blocks_.num_blocks();
  stats.kv_blocks_used = blocks_.num_used();
  stats.preemptions = scheduler_.num_preemptions();
  stats.prefix_query_tokens = prefixes_.query_tokens();
  stats.prefix_hit_tokens = prefixes_.hit_tokens();
  stats.steps = num_steps_;
  stats.busy_s = busy_s_;
  return stats;
}

Status ArEngine::sleep() {
  if (!sequences_.empty())
    return invalid_argument(
        fmt::format("The engine cannot sleep: {} sequences are live.", sequences_.size()));
  prefixes_.reset();
  kv_cache_.release();
  return {};
}

Status ArEngine::wake_up() {
  kv_cache_.allocate();
  return {};
}

// --- before a sequence can be scheduled

// may_only_prefill: `max_tokens` may be 0, which takes a segment in without answering.
Status ArEngine::check_params(const SamplingParams& params, bool may_only_prefill) const {
  if (may_only_prefill && params.max_tokens == 0) {
    SamplingParams rest = params;
    rest.max_tokens.reset();
    TUTTI_RETURN_IF_ERROR(rest.validate());
  } else {
    TUTTI_RETURN_IF_ERROR(params.validate());
  }
  const int64_t vocab = model_->info().vocab_size;
  const auto check = [&](const char* field, int32_t id) -> Status {
    if (id < vocab) return {};
    return invalid_argument(fmt::format("`{}` names token {}; the vocabulary has ids 0 to {}.",
                                        field, id, vocab - 1))
        .with_param(field);
  };
  for (const int32_t id : params.stop_token_ids) TUTTI_RETURN_IF_ERROR(check("stop_token_ids", id));
  for (const int32_t id : params.forced_token_ids)
    TUTTI_RETURN_IF_ERROR(check("forced_token_ids", id));
  for (const auto& [id, bias] : params.logit_bias) TUTTI_RETURN_IF_ERROR(check("logit_bias", id));
  return {};
}

Status ArEngine::check_prompt_length(int64_t length) const {
  if (length == 0)
    return invalid_argument("The prompt is empty; it needs at least one token.")
        .with_param("prompt");
  if (length >= context_length_)
    return invalid_argument(
               fmt::format(
                   "The prompt has {} tokens; the context holds {}, of which at least one is "
                   "for the answer.",
                   length, context_length_))
        .with_param("prompt");
  if (length >= max_sequence_length_)
    return invalid_argument(
               fmt::format("The prompt has {} tokens; the KV cache holds {}, of which at least one "
                           "is for the answer (kv_cache_bytes is {}).",
                           length, max_sequence_length_, options_.kv_cache_bytes))
        .with_param("prompt");
  return {};
}

// Takes the prompt's length over as soon as the model knows it, and all that follows from it.
Status ArEngine::settle_prompt(Sequence& sequence, bool input_complete) {
  if (sequence.prompt_length >= 0) return {};
  const int64_t length = model_->prompt_length(*sequence.model);
  if (length < 0) {
    if (!input_complete) return {};
    return internal_error("The input of this stage ended before its prompt was complete.");
  }
  TUTTI_RETURN_IF_ERROR(check_prompt_length(length));
  return begin_answer(sequence, length);
}

// All that follows from the length of what the answer comes after.
Status ArEngine::begin_answer(Sequence& sequence, int64_t length) {
  const SamplingParams& params = sequence.request.sampling_params;
  sequence.prompt_length = length;
  sequence.metrics.prompt_tokens = length;
  sequence.due = first_token_due(sequence);
  sequence.max_new_tokens = max_sequence_length_ - length;
  if (params.max_tokens)
    sequence.max_new_tokens = std::min<int64_t>(sequence.max_new_tokens, *params.max_tokens);
  sequence.generated.reserve(static_cast<size_t>(sequence.max_new_tokens));
  const auto most_blocks =
      static_cast<size_t>(blocks_.blocks_for(length + sequence.max_new_tokens));
  sequence.blocks.reserve(most_blocks);
  if (prefixes_.is_enabled()) sequence.block_hashes.reserve(most_blocks);
  sequence.penalties.begin(params, model_->info().vocab_size,
                           model_->info().prompt_has_token_ids
                               ? model_->prompt_token_ids(*sequence.model)
                               : std::span<const int32_t>{});
  return {};
}

// --- the three parts of a step

void ArEngine::schedule() {
  end_rests();
  scheduled_ = scheduler_.schedule(most_prompt_tokens());
  const double now = outputs_.now_s();
  for (const ScheduledItem& item : scheduled_) {
    double& first = item.sequence->metrics.first_scheduled_s;
    if (first == 0) first = now;
  }
}

void ArEngine::run() {
  step_error_ = {};
  step_s_ = 0;
  if (scheduled_.empty()) return;
  batch_.build(scheduled_, options_.block_size, prefixes_.is_enabled());
  executor_.run(step_order(scheduled_, is_heard()), [this](OpContext& ctx) {
    const TimePoint begin = outputs_.now();
    try {
      forward_and_sample(ctx);
    } catch (const std::exception& e) {
      step_error_ = internal_error(fmt::format("The model failed in a step: {}", e.what()));
    }
    step_s_ = to_seconds(outputs_.now() - begin);
  });
  busy_s_ += step_s_;
  ++num_steps_;
  learn_prompt_cost();
}

void ArEngine::publish(std::vector<StageOutput>& outputs) {
  outputs_.take_early(outputs);
  size_t row = 0;
  for (const ScheduledItem& item : scheduled_) {
    const size_t own_row = row;
    row += item.samples ? 1 : 0;
    publish_item(item, own_row, outputs);
  }
  scheduled_ = {};
  release_due(outputs);
}

// --- on the device

void ArEngine::forward_and_sample(OpContext& ctx) {
  const Workspace::Scope scope(ctx.workspace);
  const ops::PagedBatch paged = batch_.paged();
  const ArBatch batch{.items = batch_.items(),
                      .num_tokens = batch_.num_tokens(),
                      .num_samples = batch_.num_samples(),
                      .paged = paged,
                      .kv_layers = kv_cache_.layers(),
                      .sample_lora = &batch_.sample_lora()};
  const LoraScope lora(ctx, batch_.lora());
  const Tensor logits = model_->forward(ctx, batch);
  if (batch.num_samples > 0) sample(ctx, batch, logits);
}

void ArEngine::sample(OpContext& ctx, const ArBatch& batch, const Tensor& logits) {
  sample_rows_.clear();
  row_params_.clear();
  row_seeds_.clear();
  for (const ScheduledItem& item : scheduled_) {
    if (!item.samples) continue;
    const Sequence& sequence = *item.sequence;
    const StageRequest& request = sequence.request;
    sample_rows_.push_back({&request.sampling_params, &sequence.penalties, request.seed,
                            static_cast<int64_t>(sequence.generated.size())});
    row_params_.push_back(&request.sampling_params);
    row_seeds_.push_back(request.seed);
  }
  sampler_.sample(ctx, logits, sample_rows_);
  ends_.clear();
  for (size_t row = 0; row < sample_rows_.size(); ++row) {
    const bool ends =
        sampler_.is_bad(row) || is_end_token(*sample_rows_[row].params, sampler_.token_ids()[row]);
    ends_.push_back(ends ? 1 : 0);
  }
  model_->after_sample(ctx, batch,
                       {.token_ids = sampler_.token_ids(),
                        .ends = ends_,
                        .params = row_params_,
                        .seeds = row_seeds_});
}

// --- after a step

void ArEngine::publish_item(const ScheduledItem& item, size_t row,
                            std::vector<StageOutput>& outputs) {
  Sequence& sequence = *item.sequence;
  sequence.metrics.compute_s += step_s_;
  if (!step_error_.ok()) return end_with_error(sequence, step_error_, outputs);
  if (item.samples && sampler_.is_bad(row))
    return end_with_error(
        sequence,
        internal_error(fmt::format("The model's logits for token {} of the output leave nothing to "
                                   "choose: they are not numbers, or every token is masked.",
                                   sequence.generated.size())),
        outputs);

  const bool takes_payload =
      sequence.request.wants_payload && !sequence.is_recomputing() && !sequence.is_prefill_only();
  sequence.num_computed += item.count;
  sequence.high_water = std::max(sequence.high_water, sequence.num_computed);
  prefixes_.remember(sequence);
  StageOutput output;
  if (takes_payload) output.payload = model_->take_payload(*sequence.model);
  if (item.samples) {
    add_token(sequence, row, output);
    if (takes_payload) withhold_hidden(sequence, output);
    rest_if_out_of_input(sequence);
  }
  if (sequence.is_prefill_only()) {
    if (sequence.num_computed == sequence.num_known()) publish_prefill_only(sequence, outputs);
    return;
  }
  output.finished = output.segment_finished && is_last_segment(sequence);
  emit(sequence, std::move(output), outputs);
}

void ArEngine::add_token(Sequence& sequence, size_t row, StageOutput& output) {
  const int32_t token = sampler_.token_ids()[row];
  sequence.generated.push_back(token);
  sequence.penalties.add(token);
  ++sequence.metrics.output_tokens;
  const TimePoint now = outputs_.now();
  if (sequence.generated.size() == 1) sequence.metrics.first_output_s = outputs_.seconds(now);
  sequence.due = next_token_due(sequence, model_->info().frame_s, now);
  output.delta.token_ids.push_back(token);
  if (sequence.request.sampling_params.logprobs)
    output.delta.logprobs.push_back(std::move(sampler_.logprobs(row)));
  decide_finish(sequence, token, output);
}

void ArEngine::decide_finish(Sequence& sequence, int32_t token, StageOutput& output) {
  const SamplingParams& params = sequence.request.sampling_params;
  StageOutputDelta& delta = output.delta;
  const auto count = static_cast<int64_t>(sequence.generated.size());
  if (is_end_token(params, token)) {
    sequence.text.finish(token, delta.text);
    delta.finish_reason = FinishReason::kStop;
    if (contains(params.stop_token_ids, token)) delta.stop_reason = std::to_string(token);
  } else if (const std::string* stop = sequence.text.push(token, count, delta.text)) {
    delta.finish_reason = FinishReason::kStop;
    delta.stop_reason = *stop;
  } else if (count >= sequence.max_new_tokens) {
    sequence.text.finish(std::nullopt, delta.text);
    delta.finish_reason = FinishReason::kLength;
  }
  output.segment_finished = delta.finish_reason != FinishReason::kNone;
}

// What a stop string takes away from the text, the next stage must not get either: a talker would
// say it. A payload never has the newest token, which is no input yet.
void ArEngine::withhold_hidden(Sequence& sequence, StageOutput& output) {
  std::vector<int32_t>& withheld = sequence.withheld_ids;
  const int64_t hidden = sequence.text.num_hidden_tokens() - 1;
  if (hidden <= 0 && withheld.empty()) return;
  std::vector<int32_t>& ids = output.payload.token_ids;
  ids.insert(ids.begin(), withheld.begin(), withheld.end());
  const auto first = ids.end() - std::clamp<int64_t>(hidden, 0, std::ssize(ids));
  withheld.assign(first, ids.end());
  ids.erase(first, ids.end());
  if (output.segment_finished) withheld.clear();
}

void ArEngine::emit(Sequence& sequence, StageOutput output, std::vector<StageOutput>& outputs) {
  const bool may_wait = gathers(sequence, output);
  std::optional<StageOutput> news = outputs_.release(sequence, std::move(output), may_wait);
  if (!news) return;
  std::erase(gathering_, &sequence);
  const bool finished = news->finished, ends = finished || news->segment_finished;
  if (!ends && news->delta.token_ids.empty() && news->payload.empty()) return;
  outputs.push_back(outputs_.sign(sequence, std::move(*news)));
  if (finished) {
    forget(sequence);
  } else if (ends) {
    end_segment(sequence, outputs);
  }
}

void ArEngine::end_with_error(Sequence& sequence, Status error, std::vector<StageOutput>& outputs) {
  if (is_gathering(sequence)) outputs.push_back(outputs_.rest(sequence));
  outputs.push_back(outputs_.failure(sequence, std::move(error)));
  forget(sequence);
}

void ArEngine::end_empty(Sequence& sequence) {
  StageOutput output;
  output.finished = output.segment_finished = true;
  output.delta.finish_reason = FinishReason::kStop;
  sequence.request.streams_payload = true;  // nothing is held
  emit(sequence, std::move(output), outputs_.early());
}

void ArEngine::forget(Sequence& sequence) {
  std::erase(gathering_, &sequence);
  std::erase(resting_, &sequence);
  scheduler_.remove(sequence);
  sequences_.erase(sequence.request.key);
}

bool ArEngine::is_end_token(const SamplingParams& params, int32_t token) const {
  if (!params.ignore_eos && contains(model_->info().eos_token_ids, token)) return true;
  return contains(params.stop_token_ids, token);
}

}  // namespace tutti::ar

namespace tutti {

std::unique_ptr<StageEngine> make_ar_engine(std::unique_ptr<ArModel> model,
                                            std::shared_ptr<const text::Tokenizer> tokenizer,
                                            DeviceExecutor& executor,
                                            const StageEngineOptions& options) {
  return std::make_unique<ar::ArEngine>(std::move(model), std::move(tokenizer), executor, options);
}

}  // namespace tutti
