// AsyncOmniEngine: a thin proxy in the caller's threads. It launches the orchestrator in a
// background thread and talks to it through bounded queues only.
//
// Thread: every method may be called from any thread; try_get_output() hands each message to one
// caller. Ownership: the engine owns its threads, stages and memory; the destructor shuts down.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tutti/options.h"
#include "tutti/output.h"
#include "tutti/request.h"
#include "tutti/status.h"

namespace tutti {

struct StageRuntimeInfo {
  bool final_output = false;
  std::string final_output_type;  // "text", "audio", "image"; empty when not final
  std::string model_stage;        // "thinker", "talker", "code2wav"
  std::string stage_type;         // "llm", "generation", "diffusion"
};

struct ReplicaInfo {
  int32_t replica_id = 0;
  std::string state;        // starting, ready, draining, dead
  int64_t outstanding = 0;  // requests bound to it
  int64_t steps = 0;        // batched forwards so far
  double busy_s = 0;        // seconds spent in them
};

struct StagePoolInfo {
  int32_t stage_id = 0;
  std::vector<ReplicaInfo> replicas;
};

struct QueueInfo {
  std::string name;  // request_queue, output_queue, rpc_output_queue
  int64_t size = 0;
  int64_t capacity = 0;
  int64_t high_water = 0;
};

// Stage 0's text and media processor, as add_request() uses it.
class InputProcessor {
 public:
  virtual ~InputProcessor() = default;
  // Token ids of the prompt as stage 0 sees it. Any thread.
  virtual Result<std::vector<int32_t>> prompt_token_ids(const Prompt& prompt) const = 0;
};

class AsyncOmniEngine {
 public:
  // `model`: a directory in Hugging Face layout, or the name of a bundled model. Returns when every
  // stage is ready; on an error or timeout everything started is stopped.
  static Result<std::unique_ptr<AsyncOmniEngine>> create(const std::string& model,
                                                         EngineOptions options = {});
  virtual ~AsyncOmniEngine() = default;

  // --- attributes
  virtual const std::string& model() const = 0;
  virtual const std::string& tokenizer() const = 0;
  virtual int32_t num_stages() const = 0;
  virtual bool async_chunk() const = 0;
  virtual const std::vector<SamplingParams>& default_sampling_params_list() const = 0;
  // Voices for speech output in the model's own spelling; the default first. Empty: no speech.
  virtual const std::vector<std::string>& voices() const = 0;
  // "generate" when a stage understands prompts, "speech" / "image" when a final output is one.
  virtual const std::vector<std::string>& supported_tasks() const = 0;
  // The most requests that one diffusion step batches.
  virtual int32_t diffusion_batch_size() const = 0;
  // This process runs one stage of a pipeline whose other stages run elsewhere.
  virtual bool single_stage_mode() const = 0;
  virtual const InputProcessor* input_processor() const = 0;
  virtual std::thread::native_handle_type orchestrator_thread() const = 0;
  // One per stage.
  virtual const std::vector<StageRuntimeInfo>& stage_metadata() const = 0;
  virtual std::vector<StagePoolInfo> stage_pools() const = 0;
  // The first live replica of each pool; replica_id -1 and state "dead" where there is none.
  virtual std::vector<ReplicaInfo> stage_clients() const = 0;
  virtual std::vector<QueueInfo> queues() const = 0;
  // Error when out of range or negative.
  virtual Result<StageRuntimeInfo> get_stage_metadata(int32_t stage_id) const = 0;

  // --- requests
  // Processes stage 0's input in the calling thread, then enqueues. Every error is found here and
  // nothing is enqueued then.
  virtual Status add_request(AddRequest request) = 0;
  // Cancels in every stage; unknown ids are ignored; one terminal message per live id follows.
  virtual Status abort(const std::vector<std::string>& request_ids) = 0;
  // The next message, or none after timeout_s. Error when the orchestrator is dead and the queue
  // empty.
  virtual Result<std::optional<EngineMessage>> try_get_output(double timeout_s = 0.001) = 0;

  // --- life
  virtual bool is_alive() const = 0;
  // OK, or which stage has no live replica.
  virtual Status health() const = 0;
  // Idempotent: refuses new work, ends live requests with one terminal message each, stops the
  // stages in parallel within a bound.
  virtual void shutdown() = 0;
};

}  // namespace tutti
