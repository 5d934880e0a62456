#include "weights/weight_loader.h"

#include "weights/convert.h"

namespace tutti {

Tensor WeightLoader::get(const std::string& name, const Shape& shape) {
  return do_get(name, shape, false);
}

Tensor WeightLoader::get_f32(const std::string& name, const Shape& shape) {
  return do_get(name, shape, true);
}

Tensor WeightLoader::finalize(const std::string& name, const Tensor& f32) const {
  const DType dtype = matrix_dtype(name);
  if (!f32.defined() || dtype == DType::kF32) return f32;
  Tensor out = Tensor::empty(f32.shape(), dtype);
  convert_elements(f32.raw_data(), DType::kF32, out.raw_data(), dtype,
                   static_cast<size_t>(f32.num_elements()));
  return out;
}

void WeightLoader::fail(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

}  // namespace tutti
