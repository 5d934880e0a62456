// Goodput: which requests were answered as fast as somebody wants them (Zhong et al., "DistServe",
// 2024; vLLM's `bench serve --goodput`).
//
// Thread: free functions, any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

#include "apps/bench_serve/load_options.h"
#include "apps/bench_serve/measurement.h"

namespace tutti::bench {

std::string_view goodput_name(GoodputLimit::Metric metric);  // "ttft"
// "ttft:200": milliseconds. Errors: another name, no number above 0, a name twice, and one of which
// this backend's answers never have a value.
Result<std::vector<GoodputLimit>> parse_goodput(const std::vector<std::string>& texts,
                                                Backend backend);
// Whether a completed request keeps every limit. Where it has no such time it does not keep the
// limit, but for the time per output token of an answer of one token, as in vLLM.
bool keeps(const RequestRecord& record, std::span<const GoodputLimit> limits);

}  // namespace tutti::bench
