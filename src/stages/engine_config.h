// EngineConfig: the options that an engine runs with, resolved from everything that sets them, and
// where each value came from.
//
// Order, the later winning: the program's and the model family's defaults, the checkpoint's
// generation_config.json, the deploy file (its base first, the platform's section last), options
// and flags, --stage-overrides. What stands at a stage wins over what stands at the top level of
// the same source. Thread: plain data.
#pragma once

#include <string>
#include <vector>

#include "tutti/options.h"
#include "tutti/status.h"

#include "models/pipeline.h"
#include "stages/deploy_config.h"

namespace tutti {

struct EngineConfig {
  // Every stage has an entry in `stages` and in default_sampling_params_list, with every field that
  // is not left to the model or to the memory plan.
  EngineOptions options;
  std::vector<std::string> stage_names;
  // All values by deploy key. An empty value is left to what its note says.
  Settings pipeline;
  std::vector<Settings> stages;
};

// Reads options.deploy_config. Errors: those of stages/deploy_config.h, values that are out of
// range, connectors that don't exist, devices that this program does not have.
Result<EngineConfig> resolve_engine_config(const EngineOptions& given, const Pipeline& pipeline);

// An error about one of the config's values as the caller should read it: of a file's value it says
// the file and the line, and is no longer about a parameter of the caller. Others stay as they are.
Status at_origin(const EngineConfig& config, Status status);

// Sets an option by its deploy key, as a flag does: checks the text and notes the origin. Errors:
// unknown key (names the nearest), value that is not allowed.
Status set_engine_option(EngineOptions& options, const std::string& key, const std::string& text,
                         const std::string& origin);

// As a deploy file that gives the same configuration, each value with its origin as a comment.
std::string engine_config_yaml(const EngineConfig& config);

}  // namespace tutti
