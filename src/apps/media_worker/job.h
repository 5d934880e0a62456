// The worker's one job: a container's sampled frames and its sound, as messages (output.h).
//
// Thread: one. Failures end the job.
#pragma once

#include "apps/media_worker/container.h"
#include "media/worker_protocol.h"

namespace tutti::media_worker {

// Whether the engine may have written it: version, ranges, numbers that are finite.
bool is_usable(const WorkerRequest& request);

// Of a request that is usable.
void run_job(const WorkerRequest& request, InputRange input);

}  // namespace tutti::media_worker
