// StageGraph: a pipeline's stages and the edges between them, checked once.
//
// Thread: immutable. Invariants: every source exists, there is no cycle, at least one stage is a
// final output, every stage with sources has an input processor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tutti/async_omni_engine.h"
#include "tutti/status.h"

#include "models/pipeline.h"

namespace tutti {

class StageGraph {
 public:
  // Errors name the stage and what is wrong with it.
  static Result<StageGraph> build(std::vector<StageSpec> specs);

  int32_t size() const { return static_cast<int32_t>(specs_.size()); }
  const StageSpec& spec(int32_t stage) const { return specs_[stage]; }
  // "stage 1 (talker)", for messages.
  std::string describe(int32_t stage) const;
  // Stages that take `stage`'s payload.
  const std::vector<int32_t>& consumers(int32_t stage) const { return consumers_[stage]; }
  const std::vector<int32_t>& final_stages() const { return final_stages_; }
  StageRuntimeInfo runtime_info(int32_t stage) const;
  // `needed[s]`: one of the `wanted` outputs depends on stage s (or is it).
  std::vector<uint8_t> needed_for(std::span<const int32_t> wanted) const;

 private:
  std::vector<StageSpec> specs_;
  std::vector<std::vector<int32_t>> consumers_;
  std::vector<int32_t> final_stages_;
};

}  // namespace tutti
