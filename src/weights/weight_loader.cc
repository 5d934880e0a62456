#include "weights/weight_loader.h"

#include <fstream>
#include <limits>

#include "base/strings.h"
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

size_t available_host_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    size_t kilobytes = 0;
    if (key == "MemAvailable:" && meminfo >> kilobytes) return kilobytes * 1024;
    meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return SIZE_MAX;
}

bool WeightLoader::account(size_t bytes, bool mapped) {
  ++stats_.tensors;
  stats_.bytes += bytes;
  if (mapped) return true;
  stats_.converted_bytes += bytes;
  if (stats_.converted_bytes <= available_bytes_) return true;
  fail(resource_exhausted("The weights need more memory than is available, which is " +
                          human_bytes(static_cast<double>(available_bytes_)) + "."));
  return false;
}

void WeightLoader::fail(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

}  // namespace tutti
