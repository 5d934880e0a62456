// Deploy configuration as read from files and overrides: every value as text that its key allows,
// with where it came from.
//
// Nothing is dropped in silence: an unknown key, a value out of range, a key that cannot be
// honoured, and a key that stands twice are errors with file, line and column.
// Thread: plain data.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "tutti/status.h"

namespace tutti {

struct Setting {
  std::string value;   // scalars as YAML writes them; lists and mappings in flow style
  std::string origin;  // "deploy.yaml:12", "--stage-overrides"
  std::string note;    // why it changes nothing; empty: it does
};
// By key; keys inside mappings follow a dot: "default_sampling_params.top_k",
// "connectors.shm.extra.codec_chunk_frames". A connector's class is the value of "connectors.shm".
using Settings = std::map<std::string, Setting, std::less<>>;

struct DeployConfig {
  Settings pipeline;
  std::vector<Settings> stages;  // one per stage of the model

  // Puts what `above` sets over what is here.
  void overlay(const DeployConfig& above);
};

// What a deploy file is read for.
struct DeployTarget {
  std::vector<std::string> stage_names;  // "thinker", "talker", ...
  std::string platform = "cpu";          // the section of `platforms` that applies
};

// Reads a file and, below it, the files its base_config names, relative to itself. The platform's
// section comes over all of them. Errors name file, line, column, the key's path, what was found
// and what is allowed, or the nearest known key; a cycle of base_config lists its files.
Result<DeployConfig> read_deploy_file(const std::string& path, const DeployTarget& target);

// Each is "STAGE.KEY=VALUE", STAGE being an id or a stage's name, or a JSON object of stages.
Result<DeployConfig> read_stage_overrides(std::span<const std::string> overrides,
                                          const DeployTarget& target);

// One value of a key at the top level, as a flag or an option gives it; empty when it is null. The
// error names the key, what was found and what is allowed.
Result<std::string> read_deploy_value(const std::string& key, const std::string& text);

}  // namespace tutti
