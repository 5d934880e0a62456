// Outputs of a sequence: joining successive ones into one.
#pragma once

#include <cstdint>
#include <iterator>
#include <vector>

#include "models/stage_io.h"

namespace tutti {

// Output that waits for more of its sequence's, or for the end.
class HeldOutput {
 public:
  void add(StageOutput output);
  bool empty() const { return is_empty_; }
  int64_t num_tokens() const { return std::ssize(whole_.delta.token_ids); }
  // All of it as one: tokens, text and samples in order, tensors of one name joined along their
  // first dimension. The last output's key, end and error count.
  StageOutput take();

 private:
  bool is_empty_ = true;
  StageOutput whole_;
  std::vector<StagePayload> payloads_;
};

// Tensors of one name must agree in dtype and in all dimensions but the first.
StagePayload join_payloads(std::vector<StagePayload> payloads);

}  // namespace tutti
