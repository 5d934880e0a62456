// The processor's cores as this process may use them.
#pragma once

#include <vector>

namespace tutti::cpu {

// One logical CPU number per physical core in the calling thread's affinity mask, in rising order;
// at least one.
std::vector<int> physical_cores();

}  // namespace tutti::cpu
