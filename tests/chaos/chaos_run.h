// One chaos run: requests of many clients through the engine, its stages in worker processes, while
// these are killed, clients abort, and others read slowly.
//
// Thread: run() from one. Everything that is drawn comes from the seed; when things happen is up to
// the machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "process_watch.h"

namespace tutti::chaos {

struct ChaosOptions {
  std::string model = "nano";
  int32_t num_requests = 300;
  int32_t concurrency = 16;
  int32_t num_kills = 20;  // over all stages, in turn
  int32_t num_replicas = 2;
  uint64_t seed = 1;
  double timeout_s = 900;  // of the whole run
};

struct ChaosReport {
  int32_t accepted = 0;
  int32_t finished = 0;
  int32_t aborted = 0;
  int32_t failed = 0;
  std::vector<int32_t> kills;  // per stage
  int64_t retried = 0;
  int64_t slow_messages = 0;
  int64_t segments = 0;  // of sessions, beside their first
  double duration_s = 0;
  Holdings before, loaded, after, closed;  // without engine, at rest, at rest again, without engine
  std::vector<std::string> violations;     // sentences; empty: all is well
};

ChaosReport run(const ChaosOptions& options);
void print(const ChaosReport& report);

}  // namespace tutti::chaos
