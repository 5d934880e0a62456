#include "engine/generation/generation_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

namespace tutti::generation {

GenerationEngine::GenerationEngine(std::unique_ptr<GenerationModel> model, DeviceExecutor& executor,
                                   const StageEngineOptions& options)
    : model_(std::move(model)),
      executor_(executor),
      options_(options),
      scheduler_(*model_, options.max_num_seqs),
      outputs_(options.clock, options.epoch) {}

Status GenerationEngine::admit(StageRequest request) {
  const RequestKey key = request.key;
  if (sequences_.contains(key))
    return {StatusCode::kAlreadyExists,
            fmt::format("Request {} is already in this stage.", request.request_id)};
  TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<GenerationSequence> state, model_->start(request.input));
  // The model has taken what it needs.
  request.input.payload = {};
  auto sequence = std::make_unique<Sequence>();
  sequence->request = std::move(request);
  sequence->model = std::move(state);
  sequence->arrival = num_admitted_++;
  sequence->submitted = outputs_.now();
  sequence->metrics.submitted_s = outputs_.seconds(sequence->submitted);
  sequence->metrics.transfer_s = sequence->request.transfer_s;
  Sequence& admitted = *sequence;
  order_.push_back(&admitted);
  sequences_.emplace(key, std::move(sequence));
  end_if_done(admitted, outputs_.early());
  return {};
}

void GenerationEngine::append(StageChunk chunk) {
  const auto found = sequences_.find(chunk.key);
  if (found == sequences_.end()) return;
  Sequence& sequence = *found->second;
  sequence.metrics.transfer_s += chunk.transfer_s;
  Status status = model_->append(*sequence.model, std::move(chunk.payload), chunk.last);
  if (!status.ok()) return end_with_error(sequence, std::move(status), outputs_.early());
  end_if_done(sequence, outputs_.early());
}

std::optional<StageOutput> GenerationEngine::abort(RequestKey key) {
  outputs_.drop_early(key);
  const auto found = sequences_.find(key);
  if (found == sequences_.end()) return std::nullopt;
  Sequence& sequence = *found->second;
  StageOutput rest = outputs_.rest(sequence);
  forget(sequence);
  return rest;
}

bool GenerationEngine::has_runnable_work() const {
  return outputs_.has_early() || std::any_of(order_.begin(), order_.end(), [&](const Sequence* s) {
           return scheduler_.is_runnable(*s);
         });
}

void GenerationEngine::step(std::vector<StageOutput>& outputs) {
  schedule();
  run();
  publish(outputs);
}

EngineStats GenerationEngine::stats() const {
  EngineStats stats;
  for (const Sequence* sequence : order_) {
    const bool started = sequence->metrics.first_scheduled_s != 0;
    ++(started ? stats.running : stats.waiting);
    if (!scheduler_.is_runnable(*sequence)) ++stats.blocked;
  }
  stats.steps = num_steps_;
  stats.busy_s = busy_s_;
  return stats;
}

// --- the three parts of a step

void GenerationEngine::schedule() {
  scheduled_ = scheduler_.schedule(order_);
  const double now = outputs_.now_s();
  work_.clear();
  for (const ScheduledFrames& item : scheduled_) {
    double& first = item.sequence->metrics.first_scheduled_s;
    if (first == 0) first = now;
    work_.push_back({item.sequence->model.get(), item.frames, {}});
  }
}

void GenerationEngine::run() {
  step_error_ = {};
  if (scheduled_.empty()) return;
  const Sequence& first = *scheduled_.front().sequence;
  const TimePoint begin = outputs_.now();
  executor_.run({first.request.priority, scheduler_.deadline(first)}, [this](OpContext& ctx) {
    const Workspace::Scope scope(ctx.workspace);
    try {
      model_->run(ctx, work_);
    } catch (const std::exception& e) {
      step_error_ = internal_error(fmt::format("The model failed in a step: {}", e.what()));
    }
  });
  step_s_ = to_seconds(outputs_.now() - begin);
  busy_s_ += step_s_;
  ++num_steps_;
}

void GenerationEngine::publish(std::vector<StageOutput>& outputs) {
  outputs_.take_early(outputs);
  for (size_t i = 0; i < scheduled_.size(); ++i)
    publish_work(scheduled_[i], std::move(work_[i].output), outputs);
  scheduled_ = {};
}

// --- after a step

void GenerationEngine::publish_work(const ScheduledFrames& item, AudioChunk audio,
                                    std::vector<StageOutput>& outputs) {
  Sequence& sequence = *item.sequence;
  StageMetrics& metrics = sequence.metrics;
  metrics.compute_s += step_s_;
  if (!step_error_.ok()) return end_with_error(sequence, step_error_, outputs);
  metrics.prompt_tokens += item.frames;
  metrics.output_tokens += static_cast<int64_t>(audio.samples.size());
  sequence.next_chunk = 2 * item.frames;
  StageOutput output;
  output.finished = is_done(sequence);
  output.delta.audio = std::move(audio);
  if (output.finished) output.delta.finish_reason = FinishReason::kStop;
  emit(sequence, std::move(output), outputs);
}

void GenerationEngine::emit(Sequence& sequence, StageOutput output,
                            std::vector<StageOutput>& outputs) {
  output.segment_finished = output.finished;
  std::optional<StageOutput> news = outputs_.release(sequence, std::move(output));
  if (!news) return;
  const bool finished = news->finished;
  const auto samples = static_cast<int64_t>(news->delta.audio.samples.size());
  if (sequence.samples_out == 0 && samples > 0) {
    sequence.first_output = outputs_.now();
    sequence.metrics.first_output_s = outputs_.seconds(sequence.first_output);
  }
  sequence.samples_out += samples;
  if (!finished && samples == 0) return;
  outputs.push_back(outputs_.sign(sequence, std::move(*news)));
  if (finished) forget(sequence);
}

void GenerationEngine::end_with_error(Sequence& sequence, Status error,
                                      std::vector<StageOutput>& outputs) {
  outputs.push_back(outputs_.failure(sequence, std::move(error)));
  forget(sequence);
}

// The end may come without frames: after the last ones were computed, or with none at all.
void GenerationEngine::end_if_done(Sequence& sequence, std::vector<StageOutput>& outputs) {
  if (!is_done(sequence)) return;
  StageOutput output;
  output.finished = true;
  output.delta.finish_reason = FinishReason::kStop;
  output.delta.audio.sample_rate = model_->info().sample_rate;
  emit(sequence, std::move(output), outputs);
}

bool GenerationEngine::is_done(const Sequence& sequence) const {
  return model_->input_complete(*sequence.model) && model_->pending_frames(*sequence.model) == 0;
}

void GenerationEngine::forget(Sequence& sequence) {
  std::erase(order_, &sequence);
  sequences_.erase(sequence.request.key);
}

}  // namespace tutti::generation

namespace tutti {

std::unique_ptr<StageEngine> make_generation_engine(std::unique_ptr<GenerationModel> model,
                                                    DeviceExecutor& executor,
                                                    const StageEngineOptions& options) {
  return std::make_unique<generation::GenerationEngine>(std::move(model), executor, options);
}

}  // namespace tutti
