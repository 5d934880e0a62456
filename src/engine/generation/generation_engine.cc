#include "engine/generation/generation_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>

#include "media/fade_in.h"

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
  const TimePoint now = outputs_.now();
  return outputs_.has_early() || std::any_of(order_.begin(), order_.end(), [&](const Sequence* s) {
           return scheduler_.is_runnable(*s, now);
         });
}

TimePoint GenerationEngine::wake_at() const {
  TimePoint at = TimePoint::max();
  for (const Sequence* sequence : order_) at = std::min(at, scheduler_.runnable_at(*sequence));
  return at;
}

void GenerationEngine::step(std::vector<StageOutput>& outputs) {
  report_.begin = outputs_.now();
  schedule();
  report_.scheduled = outputs_.now();
  report_.sequences = std::ssize(scheduled_);
  run();
  int64_t num_frames = 0;
  for (const ScheduledFrames& item : scheduled_) num_frames += item.frames;
  report_.ran = outputs_.now();
  report_.tokens = num_frames;
  if (num_frames > 0)
    scheduler_.learn_cost(num_frames, to_seconds(report_.ran - report_.scheduled));
  report_.on_device_s = step_s_;
  publish(outputs);
  report_.published = outputs_.now();
}

EngineStats GenerationEngine::stats() const {
  EngineStats stats;
  for (const Sequence* sequence : order_) {
    const bool started = sequence->metrics.first_scheduled_s != 0;
    ++(started ? stats.running : stats.waiting);
    if (!scheduler_.is_runnable(*sequence, outputs_.now())) ++stats.blocked;
  }
  stats.steps = num_steps_;
  stats.busy_s = busy_s_;
  return stats;
}

// --- the three parts of a step

void GenerationEngine::schedule() {
  scheduled_ = scheduler_.schedule(order_, outputs_.now());
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
  step_s_ = 0;
  if (scheduled_.empty()) return;
  executor_.run(step_order(), [this](OpContext& ctx) {
    const TimePoint begin = outputs_.now();
    const Workspace::Scope scope(ctx.workspace);
    try {
      model_->run(ctx, work_);
    } catch (const std::exception& e) {
      step_error_ = internal_error(fmt::format("The model failed in a step: {}", e.what()));
    }
    step_s_ = to_seconds(outputs_.now() - begin);
  });
  busy_s_ += step_s_;
  ++num_steps_;
}

// Of the first scheduled, who is the most urgent.
StepOrder GenerationEngine::step_order() const {
  const Sequence& first = *scheduled_.front().sequence;
  const bool heard = std::any_of(scheduled_.begin(), scheduled_.end(), [](const auto& item) {
    return item.sequence->request.streams_payload;
  });
  return {first.request.priority, scheduler_.deadline(first), heard};
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
  soften_begin(metrics.output_tokens, audio.samples);
  metrics.output_tokens += static_cast<int64_t>(audio.samples.size());
  sequence.last_chunk = item.frames;
  StageOutput output;
  output.finished = is_done(sequence);
  output.delta.audio = std::move(audio);
  if (output.finished) output.delta.finish_reason = FinishReason::kStop;
  emit(sequence, std::move(output), outputs);
}

// The networks begin with a step out of silence, which clicks. `first`: samples of the answer that
// came before these.
void GenerationEngine::soften_begin(int64_t first, std::span<float> samples) const {
  const GenerationModelInfo& info = model_->info();
  fade_in(samples, first, std::llround(info.fade_in_s * info.sample_rate));
}

void GenerationEngine::emit(Sequence& sequence, StageOutput output,
                            std::vector<StageOutput>& outputs) {
  output.segment_finished = output.finished;
  std::optional<StageOutput> news = outputs_.release(sequence, std::move(output));
  if (!news) return;
  const bool finished = news->finished;
  const std::vector<float>& samples = news->delta.audio.samples;
  if (!samples.empty()) account(sequence, samples);
  if (!finished && samples.empty()) return;
  outputs.push_back(outputs_.sign(sequence, std::move(*news)));
  if (finished) forget(sequence);
}

// What the listener has of new samples, and how long he waited for them in silence.
void GenerationEngine::account(Sequence& sequence, std::span<const float> samples) {
  StageMetrics& metrics = sequence.metrics;
  const TimePoint now = outputs_.now();
  if (sequence.samples_out == 0) {
    sequence.playback_begin = now;
    metrics.first_output_s = outputs_.seconds(now);
  } else if (const TimePoint dry = scheduler_.deadline(sequence);
             now > dry && sequence.request.streams_payload) {
    metrics.underrun_s += to_seconds(now - dry);
    sequence.playback_begin += now - dry;
  }
  if (sequence.onset.add(samples, model_->info().sample_rate))
    metrics.first_audio_s = outputs_.seconds(now);
  sequence.samples_out += static_cast<int64_t>(samples.size());
  metrics.audio_s =
      static_cast<double>(sequence.samples_out) / static_cast<double>(model_->info().sample_rate);
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
