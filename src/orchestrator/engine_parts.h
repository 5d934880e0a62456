// EngineParts: what an AsyncOmniEngine is made of, before it runs. create() takes them from a model
// directory; tests and benchmarks bring their own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tutti/async_omni_engine.h"
#include "tutti/options.h"

#include "engine/stage_engine.h"
#include "models/pipeline.h"
#include "stages/in_proc_stage_client.h"
#include "stages/process_stage_client.h"

namespace tutti {

struct LoadedStage {
  std::unique_ptr<StageEngine> engine;
  int64_t max_prompt_tokens = 0;  // 0: not limited
};
// Reports how far loading is; false: nobody waits for it any more.
using ReportProgress = std::function<bool(double fraction, const std::string& what)>;
// Called on the replica's thread; lives as long as the engine it makes.
using StageLoader = std::function<Result<LoadedStage>(const ReportProgress& report)>;

struct StageParts {
  StageLoader load;
  int32_t num_replicas = 1;
  // Each replica in a worker process that loads this itself; none: threads, by `load`.
  std::optional<ProcessOptions> worker = {};
  RouterPolicy router = RouterPolicy::kLeastOutstanding;
};

struct EngineParts {
  std::string model;
  std::string tokenizer = {};  // empty: the model's own
  std::shared_ptr<const Pipeline> pipeline;
  std::vector<StageParts> stages;
  InProcOptions replica_options;
  // Figures of the devices that the stages run on; may be empty.
  std::function<std::vector<DeviceInfo>()> devices;
  // Whether a replica more than `num_replicas` of a stage may be added; may be empty: always.
  std::function<Status(int32_t stage, int32_t num_replicas)> check_added_replica;
  // Zero of every time that messages carry; the loaders' engines must count from the same.
  TimePoint epoch = Clock::steady().now();
};

// One of several stages, while the others run in worker processes.
bool runs_one_stage(const EngineParts& parts);

// Starts every stage and returns when all are ready; on an error all are stopped.
Result<std::unique_ptr<AsyncOmniEngine>> start_engine(EngineParts parts,
                                                      const EngineOptions& options);

}  // namespace tutti
