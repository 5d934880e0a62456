// AsyncOmniEngineImpl: the proxy in front of one OrchestratorThread and the stage pools.
//
// Thread: as AsyncOmniEngine: any. Owns queues, pools and the orchestrator's thread; destroyed in
// the reverse order.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/worker_pool.h"
#include "orchestrator/control_calls.h"
#include "orchestrator/engine_parts.h"
#include "orchestrator/init_monitor.h"
#include "orchestrator/input_processing.h"
#include "orchestrator/live_requests.h"
#include "orchestrator/lora_registry.h"
#include "orchestrator/orchestrator_thread.h"
#include "orchestrator/output_waiters.h"
#include "orchestrator/request_intake.h"
#include "orchestrator/timeline.h"
#include "stages/client_reaper.h"

namespace tutti {

class AsyncOmniEngineImpl final : public AsyncOmniEngine {
 public:
  AsyncOmniEngineImpl(EngineParts parts, const EngineOptions& options,
                      std::shared_ptr<const StageGraph> graph,
                      std::vector<SamplingParams> default_sampling_params);
  ~AsyncOmniEngineImpl() override;

  // Starts threads and loading; returns when every stage is ready.
  Status start(const EngineOptions& options);

  const std::string& model() const override { return parts_.model; }
  const std::string& tokenizer() const override {
    return parts_.tokenizer.empty() ? parts_.model : parts_.tokenizer;
  }
  int32_t num_stages() const override { return graph_->size(); }
  bool async_chunk() const override { return async_chunk_; }
  const std::vector<SamplingParams>& default_sampling_params_list() const override {
    return default_sampling_params_;
  }
  const std::vector<std::string>& voices() const override { return parts_.pipeline->voices(); }
  const std::vector<std::string>& supported_tasks() const override { return supported_tasks_; }
  int32_t diffusion_batch_size() const override { return diffusion_batch_size_; }
  bool single_stage_mode() const override { return single_stage_mode_; }
  const InputProcessor* input_processor() const override {
    return graph_->spec(0).type == StageType::kLlm ? processor_.get() : nullptr;
  }
  std::thread::native_handle_type orchestrator_thread() const override;
  const std::vector<StageRuntimeInfo>& stage_metadata() const override { return stage_metadata_; }
  std::vector<StagePoolInfo> stage_pools() const override;
  std::vector<ReplicaInfo> stage_clients() const override;
  std::vector<QueueInfo> queues() const override;
  Result<StageRuntimeInfo> get_stage_metadata(int32_t stage_id) const override;

  Status add_request(AddRequest request) override;
  void add_request_async(AddRequest request, std::function<void(Status)> done) override;
  Status add_streaming_update(StreamingUpdate update) override;
  void add_streaming_update_async(StreamingUpdate update,
                                  std::function<void(Status)> done) override;
  Status abort(const std::vector<std::string>& request_ids) override;
  void abort_async(std::vector<std::string> request_ids,
                   std::function<void(Result<std::vector<AbortResult>>)> done) override;
  Result<std::optional<EngineMessage>> try_get_output(double timeout_s) override;
  void try_get_output_async(std::function<void(Result<EngineMessage>)> done) override;
  Result<std::vector<RpcResult>> collective_rpc(const std::string& method, double timeout_s,
                                                const std::string& args_json,
                                                const std::string& kwargs_json,
                                                const std::vector<int32_t>& stage_ids) override;
  void collective_rpc_async(std::string method, double timeout_s, std::string args_json,
                            std::string kwargs_json, std::vector<int32_t> stage_ids,
                            std::function<void(Result<std::vector<RpcResult>>)> done) override;
  Result<int32_t> add_replica(int32_t stage_id, double timeout_s) override;
  Status remove_replica(int32_t stage_id, int32_t replica_id, double timeout_s) override;

  bool is_alive() const override { return health().ok(); }
  Status health() const override;
  OmniStats stats() const override;
  void shutdown() override;

 private:
  // Callbacks run on the pool, and the input of asynchronous calls is processed there.
  static constexpr int kWorkers = 3;
  static constexpr size_t kMostInputs = 256;  // that wait for it

  void start_pools(const std::shared_ptr<InitMonitor>& monitor, double stage_init_timeout_s);
  void start_intake(const EngineOptions& options);
  // abort_async() of requests that the orchestrator knows.
  void abort_part(std::vector<RequestKey> keys,
                  std::function<void(Result<std::vector<AbortResult>>)> done);
  // What an RpcMessage needs; errors are those of the call.
  Result<RpcMessage> rpc_message(const std::string& method, double timeout_s,
                                 const std::string& args_json, const std::string& kwargs_json,
                                 const std::vector<int32_t>& stage_ids) const;
  Result<std::vector<RpcResult>> call_rpc(RpcMessage message);
  Result<int32_t> change_replicas(ReplicaMessage message, double timeout_s);
  // False when the orchestrator has ended.
  bool post(OrchestratorMessage message);
  std::vector<int32_t> replica_ids(int32_t stage) const;
  Status check_stage(const char* param, int32_t stage_id) const;

  EngineParts parts_;
  const std::shared_ptr<const StageGraph> graph_;
  const std::vector<SamplingParams> default_sampling_params_;
  const bool async_chunk_;
  const int64_t max_live_requests_;
  const int32_t diffusion_batch_size_;
  const bool single_stage_mode_;
  std::vector<StageRuntimeInfo> stage_metadata_;
  std::vector<std::string> supported_tasks_;
  // Written by the loading threads before their stages are ready.
  std::shared_ptr<std::vector<std::atomic<int64_t>>> max_prompt_tokens_;
  std::unique_ptr<RequestProcessor> processor_;

  RequestQueue requests_;
  OutputQueue outputs_;
  RpcOutputQueue rpc_outputs_{64};
  std::shared_ptr<OrchestratorMailbox> mailbox_;
  LiveRequests live_;
  WorkerPool workers_{"tutti-async", kWorkers, kMostInputs};
  ControlCalls calls_{workers_};
  OutputWaiters waiters_;
  LoraRegistry loras_;
  std::unique_ptr<Timeline> timeline_;
  std::unique_ptr<RequestIntake> intake_;
  ClientReaper reaper_;
  StagePools pools_;
  std::unique_ptr<OrchestratorThread> orchestrator_;
  std::mutex shutdown_mutex_;
  std::atomic<bool> shutting_down_{false};
};

}  // namespace tutti
