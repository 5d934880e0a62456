// The media worker's job inside a fuzzer: its input and output are memory, its failures thrown.
//
// Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "media/media_worker.h"

namespace tutti::fuzzing {

struct JobFailed {
  std::string sentence;
};

// What the worker writes for the container. Throws JobFailed.
std::vector<std::byte> run_worker_job(const WorkerRequest& request, const uint8_t* container,
                                      size_t size);

// A worker that has written these bytes and ended.
MediaWorker worker_that_wrote(std::span<const std::byte> messages);

}  // namespace tutti::fuzzing
