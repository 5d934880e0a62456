// Conversion of stored weights between floating-point dtypes.
#pragma once

#include <cstddef>

#include "tensor/dtype.h"

namespace tutti {

// Whether weights can be read from this dtype.
bool is_float_dtype(DType dtype);

// Converts n elements; `from` may be misaligned. from: F32, BF16, F16 or F64; to: F32 or BF16.
void convert_elements(const void* from, DType from_dtype, void* to, DType to_dtype, size_t n);

float half_to_float(uint16_t bits);

}  // namespace tutti
