// Outputs of a sequence: joining successive ones into one, for requests that want whole results.
#pragma once

#include <vector>

#include "models/stage_io.h"

namespace tutti {

// Output that waits for its sequence's end.
class HeldOutput {
 public:
  void add(StageOutput output);
  // All of it as one: tokens, text and samples in order, tensors of one name joined along their
  // first dimension. The last output's key, end and error count.
  StageOutput take();

 private:
  StageOutput whole_;
  std::vector<StagePayload> payloads_;
};

// Tensors of one name must agree in dtype and in all dimensions but the first.
StagePayload join_payloads(std::vector<StagePayload> payloads);

}  // namespace tutti
