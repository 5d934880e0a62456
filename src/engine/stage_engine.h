// StageEngine: one replica of one stage: admit, step, abort, drain, stats.
//
// Thread: all calls come from the replica's own thread; nothing here waits, except step() for its
// turn on the device. Invariants: every admitted sequence yields exactly one StageOutput with
// finished set, unless it is aborted first; an aborted one yields nothing more. Errors belong to a
// sequence. Owns: sequences, KV blocks, batches, the model.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/executor.h"
#include "base/clock.h"
#include "models/ar_model.h"
#include "models/generation_model.h"
#include "models/stage_io.h"

namespace tutti::text {
class Tokenizer;  // text/tokenizer.h
}

namespace tutti {

struct EngineStats {
  int64_t waiting = 0;  // admitted, not yet scheduled
  int64_t running = 0;
  int64_t blocked = 0;  // waiting for a chunk from upstream
  int64_t kv_blocks_total = 0;
  int64_t kv_blocks_used = 0;
  int64_t preemptions = 0;
  int64_t prefix_query_tokens = 0;  // of prompts that the prefix cache was asked for
  int64_t prefix_hit_tokens = 0;    // of these, not computed again
  int64_t steps = 0;
  double busy_s = 0;
};

struct StageEngineOptions {
  int32_t max_num_seqs = 16;
  int32_t max_num_batched_tokens = 2048;
  int64_t max_model_len = 0;  // 0: the model's
  int64_t kv_cache_bytes = int64_t{1} << 30;
  int32_t block_size = 16;
  // KV blocks outlive their sequences and serve later ones that begin alike (AR engine; models
  // whose prompts are token ids).
  bool enable_prefix_caching = true;
  int32_t max_loras = 8;  // adapters in memory at once (AR engine)
  int32_t max_lora_rank = 64;
  // Zero of the times in StageMetrics.
  std::chrono::steady_clock::time_point epoch{};
  // What time it is; null: the steady clock's.
  const Clock* clock = nullptr;
};

// What the last step did, for profiles.
struct StepReport {
  TimePoint begin, scheduled, ran, published;
  int64_t sequences = 0;
  int64_t tokens = 0;      // or frames
  double on_device_s = 0;  // of the run, without the wait for its turn
};

class StageEngine {
 public:
  virtual ~StageEngine() = default;

  // Takes a request over. An error (prompt too long, bad parameters) means it was not admitted.
  virtual Status admit(StageRequest request) = 0;
  // A chunk for a running sequence. Unknown keys are ignored (the sequence has just ended).
  virtual void append(StageChunk chunk) = 0;
  // A further segment of a resumable sequence: input behind all it was given and has produced. Its
  // answer begins when that of the segment before is complete. Unknown keys are ignored.
  virtual Status extend(StageSegment segment);
  // Lets go of a sequence and its memory at once; what it had produced and not handed out, or none
  // when the key is unknown.
  virtual std::optional<StageOutput> abort(RequestKey key) = 0;
  // Whether step() would compute something now.
  virtual bool has_runnable_work() const = 0;
  // When it would though nothing comes meanwhile; max: never.
  virtual TimePoint wake_at() const { return TimePoint::max(); }
  // Schedules, runs and publishes one step; appends to `outputs`.
  virtual void step(std::vector<StageOutput>& outputs) = 0;
  virtual EngineStats stats() const = 0;
  virtual StepReport last_step() const { return {}; }
  // Forgets cached encoder outputs of media; running requests keep theirs.
  virtual void reset_mm_cache() {}
  // Forgets the KV blocks of prefixes that no running request holds.
  virtual void reset_prefix_cache() {}
  // Control methods of this kind of engine beyond those of every replica (add_lora, ...): a JSON
  // result, or none when the method is not known here.
  virtual std::optional<Result<std::string>> control(const std::string& method,
                                                     const std::string& args_json);
  // Names of these methods.
  virtual std::vector<std::string> control_methods() const { return {}; }
  // Gives back the KV cache's memory until wake_up(); an error while sequences are live.
  virtual Status sleep() { return {}; }
  virtual Status wake_up() { return {}; }
};

// tokenizer: for stages whose tokens are text (detokenization, stop strings); may be null.
std::unique_ptr<StageEngine> make_ar_engine(std::unique_ptr<ArModel> model,
                                            std::shared_ptr<const text::Tokenizer> tokenizer,
                                            DeviceExecutor& executor,
                                            const StageEngineOptions& options);
std::unique_ptr<StageEngine> make_generation_engine(std::unique_ptr<GenerationModel> model,
                                                    DeviceExecutor& executor,
                                                    const StageEngineOptions& options);

}  // namespace tutti
