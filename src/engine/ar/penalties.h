// Penalties: which tokens one sequence has seen, kept up to date token by token, so that a step
// costs as much as there are distinct tokens and never rescans the history.
//
// Thread: the stage's replica thread. Costs no memory for requests without penalties.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tutti/sampling_params.h"

namespace tutti::ar {

class Penalties {
 public:
  // Forgets all before. prompt_ids: seen by the repetition penalty alone; empty when the prompt has
  // no ids.
  void begin(const SamplingParams& params, int64_t vocab_size, std::span<const int32_t> prompt_ids);
  // A token of the output.
  void add(int32_t token_id);
  // Applies repetition (over prompt and output), then frequency and presence (over the output), as
  // vLLM and Hugging Face do: positive logits are divided by the repetition penalty, others
  // multiplied; count * frequency + presence is subtracted.
  void apply(std::span<float> logits) const;

 private:
  bool active_ = false;
  float repetition_ = 1;
  float frequency_ = 0;
  float presence_ = 0;
  std::vector<int32_t> seen_;          // distinct ids, in order of appearance
  std::vector<int32_t> output_count_;  // by id; -1: not seen at all
};

}  // namespace tutti::ar
