// The keys of a deploy file: which exist, where they may stand, and which values are allowed. Names
// and meanings are vLLM-Omni's where it has them; docs/deploy.md is the same table for people.
//
// Thread: immutable.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

namespace tutti {

enum class DeployType : uint8_t {
  kBool,
  kInt,
  kNumber,
  kText,
  kChoice,      // one of `choices`
  kDevices,     // "cpu", "0", "cuda:0,1"
  kIntList,     // [1, 2]
  kTextList,    // [a, b], or a
  kBiasMap,     // {token id: bias}
  kSampling,    // a mapping of sampling keys
  kConnectors,  // a mapping of connector names
  kEdges,       // a mapping of from_stage_N / to_stage_N to connector names
  kStageKeys,   // a mapping of further stage keys (engine_args, engine_extras, runtime)
  kAny,         // of keys that are refused
};

// Where a key may stand.
constexpr uint8_t kTopLevel = 1;
constexpr uint8_t kPerStage = 2;
constexpr uint8_t kSamplingKey = 4;
constexpr uint8_t kConnectorExtra = 8;

struct DeployKey {
  std::string_view name;
  uint8_t where = 0;
  DeployType type = DeployType::kAny;
  double low = 0;  // kInt, kNumber: allowed range, both ends included
  double high = 0;
  std::string_view choices = {};    // kChoice: "auto, dummy"
  std::string_view canonical = {};  // the key that it is another name for
  // Only this value ("1", "false") is what the engine does; any other is refused with `why`.
  std::string_view only = {};
  // Why the key is refused, or why an accepted one changes nothing.
  std::string_view why = {};
  bool refused = false;
  // kNumber: the low end itself is not allowed.
  bool above_low = false;
};

// Null when there is no such key there. Keys of vLLM-Omni that are refused are known, too.
const DeployKey* find_deploy_key(std::string_view name, uint8_t where);
// Names to choose from in messages: what may stand there and is not refused.
std::vector<std::string> deploy_key_names(uint8_t where);
std::span<const DeployKey> deploy_keys();

// OK, or "`KEY` is VALUE; allowed is ..." for a value that an option has.
Status check_deploy_value(const DeployKey& key, const std::string& value);
// "an integer from 1 to 1048576", "true or false".
std::string allowed_values(const DeployKey& key);

}  // namespace tutti
