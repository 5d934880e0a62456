#include "layers/rotary.h"

#include <cmath>
#include <vector>

#include "ops/rotary.h"

namespace tutti {

RotaryTable::RotaryTable(int64_t head_dim, double theta, std::span<const int64_t> mrope_section)
    : num_axes_(mrope_section.empty() ? 1 : 3) {
  const int64_t half = head_dim / 2;
  std::vector<float> inv_freq(half);
  std::vector<int32_t> axis(half, 0);
  for (int64_t i = 0; i < half; ++i) {
    // In float, as the reference: at position 8000 a better frequency would be another angle.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    inv_freq[i] = 1.0f / std::pow(static_cast<float>(theta), exponent);
    const int64_t a = i % 3;
    if (num_axes_ == 3 && a != 0 && i < 3 * mrope_section[a]) axis[i] = static_cast<int32_t>(a);
  }
  inv_freq_ = Tensor::from_vector(inv_freq, {half});
  axis_ = Tensor::from_vector(axis, {half});
}

RotaryAngles RotaryTable::angles(OpContext& ctx, const Tensor& positions) const {
  const Shape shape{positions.dim(1), inv_freq_.dim(0)};
  RotaryAngles out{ctx.workspace.tensor(shape), ctx.workspace.tensor(shape)};
  ops::rotary_cos_sin(ctx, positions, inv_freq_, axis_, out.cos, out.sin);
  return out;
}

}  // namespace tutti
