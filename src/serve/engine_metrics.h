// What only the engine knows, at the moment of asking: requests, queues, and each replica's load.
//
// Thread: any.
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

#include "serve/model_info.h"

namespace tutti::serve {

std::vector<prometheus::MetricFamily> engine_metrics(const ModelInfo& model);

}  // namespace tutti::serve
