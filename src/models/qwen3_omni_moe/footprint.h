// What stages of this family take in memory, from the config: scratch of the largest step and state
// per sequence. Estimates follow the tensors that the networks take from the workspace.
//
// Thread: any.
#pragma once

#include "models/qwen3_omni_moe/config.h"
#include "models/stage_footprint.h"

namespace tutti::qwen3_omni_moe {

int64_t thinker_workspace_bytes(const ThinkerConfig& config, const StepLimits& limits);
int64_t talker_workspace_bytes(const TalkerConfig& config, const StepLimits& limits);
int64_t code2wav_workspace_bytes(const Code2WavConfig& config, const StepLimits& limits);
// Rings of keys and values, and tails of the convolutions.
int64_t code2wav_sequence_bytes(const Code2WavConfig& config);

}  // namespace tutti::qwen3_omni_moe
