#include "models/rope_index.h"

#include <utility>

#include "base/check.h"

namespace tutti {

RopeIndex::RopeIndex(std::vector<float> positions, int64_t prompt_length, float delta)
    : positions_(std::move(positions)), prompt_length_(prompt_length), delta_(delta) {
  TUTTI_CHECK(static_cast<int64_t>(positions_.size()) == 3 * prompt_length_,
              "three positions for each token of the prompt");
}

RopeIndex RopeIndex::followed_by(int64_t length, const RopeIndex& next, int64_t count) const {
  const int64_t total = length + count;
  std::vector<float> positions;
  positions.reserve(static_cast<size_t>(3 * total));
  for (int axis = 0; axis < 3; ++axis) {
    for (int64_t i = 0; i < length; ++i) positions.push_back(at(axis, i));
    for (int64_t i = 0; i < count; ++i) positions.push_back(next.at(axis, i));
  }
  return {std::move(positions), total, next.delta_ - static_cast<float>(length)};
}

}  // namespace tutti
