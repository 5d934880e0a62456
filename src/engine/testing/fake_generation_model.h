// FakeGenerationModel: a streaming network with state: each sample is a hash of all frames so far,
// so that a lost, doubled or misplaced frame changes all that follows. A test double.
#pragma once

#include <vector>

#include "models/generation_model.h"

namespace tutti::testing {

inline constexpr int32_t kSamplesPerFrame = 4;
inline constexpr int32_t kFramesPerSecond = 10;
// Frames are token ids of the payload; these have a meaning.
inline constexpr int32_t kRefusedFrame = -1;  // start() and append() fail
inline constexpr int32_t kThrowFrame = -2;    // run() throws

class FakeGenerationModel final : public GenerationModel {
 public:
  explicit FakeGenerationModel(int64_t max_frames_per_step = 1000);

  const GenerationModelInfo& info() const override { return info_; }
  Result<std::unique_ptr<GenerationSequence>> start(const StageInput& input) override;
  Status append(GenerationSequence& sequence, StagePayload payload, bool last) override;
  int64_t pending_frames(const GenerationSequence& sequence) const override;
  bool input_complete(const GenerationSequence& sequence) const override;
  void run(OpContext& ctx, std::span<Work> work) override;

  void set_fade_in_s(double fade_in_s) { info_.fade_in_s = fade_in_s; }

  std::vector<std::vector<int64_t>> steps;  // frames of each work item of each run()
  int64_t num_sequences_alive = 0;

 private:
  GenerationModelInfo info_;
};

}  // namespace tutti::testing
