// EnginePlan: all that is decided before anything is loaded: the model's stages, the resolved
// options with their origins, and the proof that the stages fit the memory. AsyncOmniEngine starts
// from it; `tutti config` prints it.
//
// Thread: any; reads config files and checkpoint headers.
#pragma once

#include <memory>
#include <string>

#include "stages/engine_config.h"
#include "stages/memory_plan.h"

namespace tutti {

struct EnginePlan {
  std::shared_ptr<const Pipeline> pipeline;
  LoadOptions load;
  EngineConfig config;
  MemoryPlan memory;
};

// Errors: no such model, and those of resolve_engine_config() and plan_memory(). Whether the stages
// fit is left to memory.check().
Result<EnginePlan> plan_engine(const std::string& model, const EngineOptions& options);

}  // namespace tutti
