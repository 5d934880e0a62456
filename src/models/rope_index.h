// RopeIndex: the rotary positions (temporal, height, width) of a sequence, prompt and continuation.
//
// Text advances all three by one per token. A prompt with media has positions of its own and
// continues at token index + delta.
// Thread: plain data.
#pragma once

#include <cstdint>
#include <vector>

namespace tutti {

class RopeIndex {
 public:
  // A sequence of text alone: every position is the token's index.
  RopeIndex() = default;
  // positions: [3, prompt_length], row-major.
  RopeIndex(std::vector<float> positions, int64_t prompt_length, float delta);

  // With `next`'s positions [0, count) behind the first `length` of this; the continuation is
  // `next`'s, moved by as many.
  RopeIndex followed_by(int64_t length, const RopeIndex& next, int64_t count) const;

  // Position of token `index` on an axis (0 temporal, 1 height, 2 width).
  float at(int axis, int64_t index) const {
    if (index < prompt_length_) return positions_[axis * prompt_length_ + index];
    return static_cast<float>(index) + delta_;
  }
  float delta() const { return delta_; }

 private:
  std::vector<float> positions_;
  int64_t prompt_length_ = 0;
  float delta_ = 0;
};

}  // namespace tutti
