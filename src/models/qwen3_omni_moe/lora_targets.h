// The linear maps of thinker and talker that adapters may change, by their names in the checkpoint.
// Encoders, code2wav and embedding tables take none.
#pragma once

#include <string>

#include "models/qwen3_omni_moe/decoder_stack.h"
#include "weights/lora.h"

namespace tutti::qwen3_omni_moe {

// Without maps yet; `stage` is "thinker" or "talker".
LoraTargets stage_lora_targets(const std::string& stage);

// Numbers a map and makes it known under its name.
void add_lora_target(const std::string& name, Linear& linear, LoraTargets& targets);
// All maps of the layers under prefix "thinker.model": attention, MLPs, routers, experts.
void add_lora_targets(const std::string& prefix, DecoderStack& stack, LoraTargets& targets);
// "prefix.linear_fc1" and "prefix.linear_fc2".
void add_lora_targets(const std::string& prefix, ResizeMlp& mlp, LoraTargets& targets);

}  // namespace tutti::qwen3_omni_moe
