#include "models/qwen3_omni_moe/lora_targets.h"

namespace tutti::qwen3_omni_moe {

namespace {

void add_mlp(const std::string& prefix, GatedMlp& mlp, LoraTargets& targets) {
  add_lora_target(prefix + ".gate_proj", mlp.gate_proj, targets);
  add_lora_target(prefix + ".up_proj", mlp.up_proj, targets);
  add_lora_target(prefix + ".down_proj", mlp.down_proj, targets);
}

void add_moe(const std::string& prefix, MoeBlock& moe, LoraTargets& targets) {
  add_lora_target(prefix + ".gate", moe.router, targets);
  for (size_t e = 0; e < moe.experts.size(); ++e) {
    const std::string at = prefix + ".experts." + std::to_string(e);
    ops::Expert& expert = moe.experts[e];
    const auto add = [&](const char* name, const Tensor& weight) {
      return targets.add(at + name, weight.dim(0), weight.dim(1));
    };
    expert.lora_map = add(".gate_proj", expert.gate);
    add(".up_proj", expert.up);
    add(".down_proj", expert.down);
  }
  if (!moe.has_shared_expert()) return;
  add_mlp(prefix + ".shared_expert", moe.shared_expert, targets);
  add_lora_target(prefix + ".shared_expert_gate", moe.shared_gate, targets);
}

}  // namespace

LoraTargets stage_lora_targets(const std::string& stage) {
  LoraTargets targets;
  targets.own_prefix = stage + ".";
  targets.other_prefixes = {stage == "thinker" ? "talker." : "thinker."};
  targets.default_prefix = "thinker.";
  return targets;
}

void add_lora_target(const std::string& name, Linear& linear, LoraTargets& targets) {
  linear.lora_map = targets.add(name, linear.out_features(), linear.in_features());
}

void add_lora_targets(const std::string& prefix, DecoderStack& stack, LoraTargets& targets) {
  for (size_t i = 0; i < stack.layers.size(); ++i) {
    DecoderLayer& layer = stack.layers[i];
    const std::string at = prefix + ".layers." + std::to_string(i);
    add_lora_target(at + ".self_attn.q_proj", layer.attention.q_proj, targets);
    add_lora_target(at + ".self_attn.k_proj", layer.attention.k_proj, targets);
    add_lora_target(at + ".self_attn.v_proj", layer.attention.v_proj, targets);
    add_lora_target(at + ".self_attn.o_proj", layer.attention.o_proj, targets);
    if (auto* dense = std::get_if<GatedMlp>(&layer.mlp)) {
      add_mlp(at + ".mlp", *dense, targets);
    } else {
      add_moe(at + ".mlp", std::get<MoeBlock>(layer.mlp), targets);
    }
  }
}

void add_lora_targets(const std::string& prefix, ResizeMlp& mlp, LoraTargets& targets) {
  add_lora_target(prefix + ".linear_fc1", mlp.fc1, targets);
  add_lora_target(prefix + ".linear_fc2", mlp.fc2, targets);
}

}  // namespace tutti::qwen3_omni_moe
