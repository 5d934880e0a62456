// Omni: the synchronous convenience over AsyncOmniEngine.
//
// Thread: generate() may be called by one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tutti/async_omni_engine.h"

namespace tutti {

struct OmniResult {
  std::string text;
  std::vector<int32_t> token_ids;
  AudioChunk audio;  // empty when speech was not asked for
  FinishReason finish_reason = FinishReason::kNone;
  std::vector<StageMetrics> stage_metrics;  // one per stage; zeros where a stage did not run
};

class Omni {
 public:
  static Result<std::unique_ptr<Omni>> create(const std::string& model, EngineOptions options = {});
  virtual ~Omni() = default;

  // Runs one request to its end. `on_delta` sees each message as it arrives; returning false
  // aborts, and what was produced so far is the result, with finish_reason kAbort.
  virtual Result<OmniResult> generate(
      AddRequest request, const std::function<bool(const OutputMessage&)>& on_delta = {}) = 0;
  virtual AsyncOmniEngine& engine() = 0;
};

}  // namespace tutti
