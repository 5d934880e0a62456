// Requests as the endpoints take them.
//
// Thread: free functions, any thread.
#pragma once

#include <string>
#include <vector>

#include "apps/bench_serve/load_options.h"
#include "apps/bench_serve/prompts.h"

namespace tutti::bench {

// The body of a POST, for the backends that have one; fields of `extra_body` win.
std::string request_body(const LoadOptions& options, const LoadPrompt& prompt);

// The events of one realtime conversation of one turn, in their order: `setup` before the clock
// starts; `sound` at the pace of a microphone; then `commit`, which begins the answer.
struct RealtimeScript {
  std::string setup;
  std::vector<std::string> sound;  // of kSoundEvent_ms each
  std::vector<std::string> commit;
};
constexpr int64_t kSoundEvent_ms = 100;
// Error: a sound that cannot be decoded.
Result<RealtimeScript> realtime_script(const LoadOptions& options, const LoadPrompt& prompt);

}  // namespace tutti::bench
