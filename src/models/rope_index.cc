#include "models/rope_index.h"

#include <utility>

#include "base/check.h"

namespace tutti {

RopeIndex::RopeIndex(std::vector<float> positions, int64_t prompt_length, float delta)
    : positions_(std::move(positions)), prompt_length_(prompt_length), delta_(delta) {
  TUTTI_CHECK(static_cast<int64_t>(positions_.size()) == 3 * prompt_length_,
              "three positions for each token of the prompt");
}

}  // namespace tutti
