// What the worker gives up before it looks at an untrusted byte.
//
// Thread: called once, before any other thread.
#pragma once

#include "media/worker_protocol.h"

namespace tutti::media_worker {

// Limits memory, processor time and descriptors, leaves the network where the system allows it, and
// ends with the engine's calling thread. False when a limit could not be set.
bool enter_sandbox(const WorkerRequest& request);

}  // namespace tutti::media_worker
