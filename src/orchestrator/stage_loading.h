// How a replica loads its stage, the same in the engine's process and in a worker's: from a spec
// that can be sent.
//
// Thread: load_stage() on the replica's thread; replicas load beside each other.
#pragma once

#include <string>

#include "tutti/status.h"

#include "backend/executor.h"
#include "models/pipeline.h"
#include "orchestrator/engine_parts.h"
#include "stages/worker_server.h"

namespace tutti {

struct StageLoadSpec {
  LoadOptions load;
  StageEngineOptions engine;  // max_model_len: the caller's limit; 0: the model's own
  int32_t num_threads = 0;    // of a worker's executor; 0: all cores
};

// The engine borrows the pipeline's tokenizer and the executor.
Result<LoadedStage> load_stage(const Pipeline& pipeline, int32_t stage, const StageLoadSpec& spec,
                               DeviceExecutor& executor, const ReportProgress& report);

// As WorkerHello::load_spec. Progress, cancellation and where media may come from are the business
// of each process and stay behind.
std::string encode_load_spec(const StageLoadSpec& spec);
Result<StageLoadSpec> decode_load_spec(const std::string& bytes);

// A worker's loader: opens the model's pipeline and loads the stage. Called again after a sleep
// that gave the engine back.
WorkerLoader make_worker_loader();

}  // namespace tutti
