// AsyncOmniEngine: a thin proxy in the caller's threads. It launches the orchestrator in a
// background thread and talks to it through bounded queues only.
//
// Thread: every method may be called from any thread; each message is handed to one caller of
// try_get_output() or try_get_output_async(). The `_async` methods never block; what they are given
// to call is called exactly once, on a thread of the engine's own small pool (in the calling thread
// when the engine refuses at once), and must not block either. Ownership: the engine owns its
// threads, stages and memory; the destructor shuts down, and must not run on one of its threads.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tutti/options.h"
#include "tutti/output.h"
#include "tutti/request.h"
#include "tutti/stats.h"
#include "tutti/status.h"

namespace tutti {

struct StageRuntimeInfo {
  bool final_output = false;
  std::string final_output_type;  // "text", "audio", "image"; empty when not final
  std::string model_stage;        // "thinker", "talker", "code2wav"
  std::string stage_type;         // "llm", "generation", "diffusion"
};

// Stage 0's text and media processor, as add_request() uses it.
class InputProcessor {
 public:
  virtual ~InputProcessor() = default;
  // Token ids of the prompt as stage 0 sees it. Any thread.
  virtual Result<std::vector<int32_t>> prompt_token_ids(const Prompt& prompt) const = 0;
  // The text of token ids of stage 0's vocabulary, special tokens included. Error: an id that is
  // not one.
  virtual Result<std::string> detokenize(std::span<const int32_t> ids) const = 0;
  // The bytes of one token, which may be a part of a character; empty when the id is none.
  virtual std::string token_text(int32_t id) const = 0;
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
  // request_queue, output_queue and rpc_output_queue, in this order.
  virtual std::vector<QueueInfo> queues() const = 0;
  // Error when out of range or negative.
  virtual Result<StageRuntimeInfo> get_stage_metadata(int32_t stage_id) const = 0;

  // --- requests
  // Processes stage 0's input in the calling thread, then enqueues. Every error is found here and
  // nothing is enqueued then: invalid_argument (param() names the field), already_exists (the id is
  // live), resource_exhausted (the queue is full; retry_after_s() says when to come back),
  // unavailable (shutting down).
  virtual Status add_request(AddRequest request) = 0;
  // The same; the input is processed on the engine's pool.
  virtual void add_request_async(AddRequest request, std::function<void(Status)> done) = 0;
  // Appends input to a resumable request; what was computed of it is kept. Beside the errors of
  // add_request: not_found (unknown or ended id), invalid_argument (not resumable, or the last
  // segment has been given), resource_exhausted (max_pending_updates segments wait).
  virtual Status add_streaming_update(StreamingUpdate update) = 0;
  virtual void add_streaming_update_async(StreamingUpdate update,
                                          std::function<void(Status)> done) = 0;
  // Cancels in every stage, queued chunks and companions included; unknown ids are ignored. One
  // terminal message per live id follows.
  virtual Status abort(const std::vector<std::string>& request_ids) = 0;
  // The same; completes when every stage has let go, with what each live request had produced and
  // not handed out. The terminal messages come besides.
  virtual void abort_async(std::vector<std::string> request_ids,
                           std::function<void(Result<std::vector<AbortResult>> ended)> done) = 0;
  // The next message, or none after timeout_s. Error when the orchestrator is dead and the queue
  // empty.
  virtual Result<std::optional<EngineMessage>> try_get_output(double timeout_s = 0.001) = 0;
  // The next message, whenever it comes; callers are served in their order. The same error.
  virtual void try_get_output_async(std::function<void(Result<EngineMessage>)> done) = 0;

  // --- control
  // Runs a control method on every live replica of the named stages (all when empty), in parallel
  // and beside the requests. Results are ordered by stage, then replica; a replica that fails has
  // an error entry. `args_json` is a JSON array, `kwargs_json` a JSON object; empty: none. Errors:
  // unknown method or stage (lists the known ones), wrong arguments, deadline_exceeded after
  // timeout_s (late answers are dropped).
  virtual Result<std::vector<RpcResult>> collective_rpc(
      const std::string& method, double timeout_s = 60, const std::string& args_json = {},
      const std::string& kwargs_json = {}, const std::vector<int32_t>& stage_ids = {}) = 0;
  virtual void collective_rpc_async(
      std::string method, double timeout_s, std::string args_json, std::string kwargs_json,
      std::vector<int32_t> stage_ids,
      std::function<void(Result<std::vector<RpcResult>> results)> done) = 0;
  // Starts a further replica of a stage; its id once it is ready.
  virtual Result<int32_t> add_replica(int32_t stage_id, double timeout_s = 300) = 0;
  // Gives a replica no further requests, waits for those it has, then stops it. Errors: unknown
  // stage or replica, the last ready replica of its stage, deadline_exceeded (it goes on draining).
  virtual Status remove_replica(int32_t stage_id, int32_t replica_id, double timeout_s = 300) = 0;

  // --- life
  // The orchestrator's thread runs and every stage has a live replica.
  virtual bool is_alive() const = 0;
  // OK, or which stage has no live replica.
  virtual Status health() const = 0;
  virtual OmniStats stats() const = 0;
  // Idempotent: refuses new work, ends live requests with one terminal message each, stops the
  // stages in parallel within a bound.
  virtual void shutdown() = 0;
};

}  // namespace tutti
