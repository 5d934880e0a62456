// Probe: lets a checker see what a network computes inside. None in production.
#pragma once

#include <functional>
#include <string_view>

#include "tensor/tensor.h"

namespace tutti {

// Called with a name and a tensor that is valid for the call only.
using Probe = std::function<void(std::string_view name, const Tensor& tensor)>;

}  // namespace tutti
