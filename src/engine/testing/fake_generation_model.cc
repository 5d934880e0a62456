#include "engine/testing/fake_generation_model.h"

#include <algorithm>
#include <stdexcept>

#include "base/random.h"

namespace tutti::testing {

namespace {

struct FakeSequence final : GenerationSequence {
  explicit FakeSequence(int64_t& alive) : alive_count(alive) { ++alive_count; }
  ~FakeSequence() override { --alive_count; }

  int64_t& alive_count;
  std::vector<int32_t> frames;
  size_t done = 0;
  uint64_t state = 0;
  bool last = false;
};

const FakeSequence& fake(const GenerationSequence& sequence) {
  return static_cast<const FakeSequence&>(sequence);
}

}  // namespace

FakeGenerationModel::FakeGenerationModel(int64_t max_frames_per_step) {
  info_.sample_rate = kSamplesPerFrame * kFramesPerSecond;
  info_.frame_s = 1.0 / kFramesPerSecond;
  info_.max_frames_per_step = max_frames_per_step;
}

Result<std::unique_ptr<GenerationSequence>> FakeGenerationModel::start(const StageInput& input) {
  auto sequence = std::make_unique<FakeSequence>(num_sequences_alive);
  TUTTI_RETURN_IF_ERROR(append(*sequence, input.payload, input.last));
  return std::unique_ptr<GenerationSequence>(std::move(sequence));
}

Status FakeGenerationModel::append(GenerationSequence& sequence, StagePayload payload, bool last) {
  auto& s = static_cast<FakeSequence&>(sequence);
  const auto& ids = payload.token_ids;
  if (std::find(ids.begin(), ids.end(), kRefusedFrame) != ids.end())
    return invalid_argument("This frame is refused.");
  s.frames.insert(s.frames.end(), ids.begin(), ids.end());
  s.last = last;
  return {};
}

int64_t FakeGenerationModel::pending_frames(const GenerationSequence& sequence) const {
  return static_cast<int64_t>(fake(sequence).frames.size() - fake(sequence).done);
}

bool FakeGenerationModel::input_complete(const GenerationSequence& sequence) const {
  return fake(sequence).last;
}

void FakeGenerationModel::run(OpContext&, std::span<Work> work) {
  steps.emplace_back();
  for (Work& item : work) {
    auto& s = static_cast<FakeSequence&>(*item.sequence);
    TUTTI_CHECK(item.frames >= 1 && item.frames <= pending_frames(s) &&
                    item.frames <= info_.max_frames_per_step,
                "frames are pending and within the model's bound");
    steps.back().push_back(item.frames);
    item.output.sample_rate = info_.sample_rate;
    for (int64_t f = 0; f < item.frames; ++f) {
      const int32_t frame = s.frames[s.done++];
      if (frame == kThrowFrame) throw std::runtime_error("the fake vocoder throws");
      s.state = mix64(s.state ^ static_cast<uint64_t>(frame));
      for (uint64_t i = 0; i < kSamplesPerFrame; ++i)
        item.output.samples.push_back(counter_uniform(s.state, 3, i));
    }
  }
}

}  // namespace tutti::testing
