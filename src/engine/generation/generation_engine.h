// GenerationEngine: the StageEngine of streaming non-autoregressive networks (code2wav). A step is
// schedule, run, publish; it batches the chunks of several sequences.
//
// Thread: the stage's replica thread. Owns: the model and its sequences.
#pragma once

#include <unordered_map>

#include "engine/generation/frame_scheduler.h"
#include "engine/stage_engine.h"

namespace tutti::generation {

class GenerationEngine final : public StageEngine {
 public:
  GenerationEngine(std::unique_ptr<GenerationModel> model, DeviceExecutor& executor,
                   const StageEngineOptions& options);

  Status admit(StageRequest request) override;
  void append(StageChunk chunk) override;
  std::optional<StageOutput> abort(RequestKey key) override;
  bool has_runnable_work() const override;
  TimePoint wake_at() const override;
  void step(std::vector<StageOutput>& outputs) override;
  EngineStats stats() const override;
  StepReport last_step() const override { return report_; }

 private:
  void schedule();
  void run();
  void publish(std::vector<StageOutput>& outputs);
  StepOrder step_order() const;
  void publish_work(const ScheduledFrames& item, AudioChunk audio,
                    std::vector<StageOutput>& outputs);
  void soften_begin(int64_t first, std::span<float> samples) const;
  void emit(Sequence& sequence, StageOutput output, std::vector<StageOutput>& outputs);
  void account(Sequence& sequence, std::span<const float> samples);
  void end_with_error(Sequence& sequence, Status error, std::vector<StageOutput>& outputs);
  void end_if_done(Sequence& sequence, std::vector<StageOutput>& outputs);
  bool is_done(const Sequence& sequence) const;
  void forget(Sequence& sequence);

  std::unique_ptr<GenerationModel> model_;
  DeviceExecutor& executor_;
  StageEngineOptions options_;
  FrameScheduler scheduler_;
  std::unordered_map<RequestKey, std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> order_;  // by arrival
  uint64_t num_admitted_ = 0;
  SequenceOutputs outputs_;

  // Of the step in progress.
  std::span<const ScheduledFrames> scheduled_;
  std::vector<GenerationModel::Work> work_;
  Status step_error_;
  double step_s_ = 0;
  StepReport report_;

  int64_t num_steps_ = 0;
  double busy_s_ = 0;
};

}  // namespace tutti::generation
