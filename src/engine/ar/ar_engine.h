// ArEngine: the StageEngine of autoregressive networks. A step is schedule, run, publish.
//
// Thread: the stage's replica thread. Owns: the model, sequences, KV cache, batch buffers.
// Invariants: a failing sequence ends alone; only a failure of the step itself ends all that took
// part.
#pragma once

#include <unordered_map>

#include "engine/ar/kv_cache.h"
#include "engine/ar/lora_store.h"
#include "engine/ar/prefix_cache.h"
#include "engine/ar/sampler.h"
#include "engine/ar/scheduler.h"
#include "engine/ar/step_batch.h"
#include "engine/stage_engine.h"

namespace tutti::ar {

class ArEngine final : public StageEngine {
 public:
  ArEngine(std::unique_ptr<ArModel> model, std::shared_ptr<const text::Tokenizer> tokenizer,
           DeviceExecutor& executor, const StageEngineOptions& options);

  Status admit(StageRequest request) override;
  void append(StageChunk chunk) override;
  Status extend(StageSegment segment) override;
  std::optional<StageOutput> abort(RequestKey key) override;
  bool has_runnable_work() const override;
  TimePoint wake_at() const override;
  void step(std::vector<StageOutput>& outputs) override;
  EngineStats stats() const override;
  StepReport last_step() const override { return report_; }
  void reset_mm_cache() override { model_->reset_mm_cache(); }
  void reset_prefix_cache() override { prefixes_.reset(); }
  std::optional<Result<std::string>> control(const std::string& method,
                                             const std::string& args_json) override {
    return loras_.control(method, args_json);
  }
  std::vector<std::string> control_methods() const override {
    return {"add_lora", "remove_lora", "list_loras", "pin_lora"};
  }
  Status sleep() override;
  Status wake_up() override;

  // The parts of a step, in their order; separate for tests and benchmarks.
  void schedule();
  void run();
  void publish(std::vector<StageOutput>& outputs);

  const ArModel& model() const { return *model_; }
  // Longest sequence, prompt and output, that a request may have here.
  int64_t max_sequence_length() const { return max_sequence_length_; }

 private:
  // Before a sequence can be scheduled.
  Status check_params(const SamplingParams& params, bool may_only_prefill) const;
  Status check_prompt_length(int64_t length) const;
  Status settle_prompt(Sequence& sequence, bool input_complete);
  Status begin_answer(Sequence& sequence, int64_t prompt_length);

  // Between segments of a resumable sequence (segments.cc).
  Status begin_segment(Sequence& sequence);
  void publish_prefill_only(Sequence& sequence, std::vector<StageOutput>& outputs);
  void end_segment(Sequence& sequence, std::vector<StageOutput>& outputs);
  static bool is_last_segment(const Sequence& sequence) {
    return !sequence.takes_segments && sequence.pending.empty();
  }

  // How long steps are, and when frames leave (pacing.cc).
  int64_t most_prompt_tokens() const;
  void learn_prompt_cost();
  bool is_heard() const { return model_->info().frame_s > 0; }
  bool gathers(Sequence& sequence, const StageOutput& output);
  static bool is_gathering(const Sequence& sequence) {
    return sequence.request.streams_payload && !sequence.held.empty();
  }
  void release_due(std::vector<StageOutput>& outputs);
  void rest_if_out_of_input(Sequence& sequence);
  void end_rest_if_fed(Sequence& sequence);
  void end_rests();

  // In a step, on the device.
  void forward_and_sample(OpContext& ctx);
  void sample(OpContext& ctx, const ArBatch& batch, const Tensor& logits);

  // After a step, for each sequence that took part.
  void publish_item(const ScheduledItem& item, size_t row, std::vector<StageOutput>& outputs);
  void add_token(Sequence& sequence, size_t row, StageOutput& output);
  void decide_finish(Sequence& sequence, int32_t token, StageOutput& output);
  static void withhold_hidden(Sequence& sequence, StageOutput& output);
  void emit(Sequence& sequence, StageOutput output, std::vector<StageOutput>& outputs);
  void end_with_error(Sequence& sequence, Status error, std::vector<StageOutput>& outputs);
  void end_empty(Sequence& sequence);
  void forget(Sequence& sequence);
  bool is_end_token(const SamplingParams& params, int32_t token) const;

  std::unique_ptr<ArModel> model_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  DeviceExecutor& executor_;
  StageEngineOptions options_;
  int64_t context_length_;
  BlockManager blocks_;
  int64_t max_sequence_length_;
  KvCache kv_cache_;
  LoraStore loras_;
  PrefixCache prefixes_;
  Scheduler scheduler_;
  StepBatch batch_;
  Sampler sampler_;

  std::unordered_map<RequestKey, std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> gathering_;  // whose newest frames have not left yet
  std::vector<Sequence*> resting_;    // that let input for several tokens come
  uint64_t num_admitted_ = 0;
  SequenceOutputs outputs_;

  // Of the step in progress.
  std::span<const ScheduledItem> scheduled_;
  std::vector<SampleRow> sample_rows_;
  std::vector<uint8_t> ends_;
  std::vector<const SamplingParams*> row_params_;
  std::vector<uint64_t> row_seeds_;
  Status step_error_;
  double step_s_ = 0;
  StepReport report_;

  int64_t num_steps_ = 0;
  double busy_s_ = 0;
  double prompt_token_s_ = 0;  // what a position of a prompt costs; 0: not known yet
};

}  // namespace tutti::ar
