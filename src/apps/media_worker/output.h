// Messages to the engine. The worker does one job: a failure is written and ends the process. The
// fuzzer of jobs has an output of its own, where a failure is thrown.
//
// Thread: one.
#pragma once

#include <cstddef>
#include <string_view>

#include "media/worker_protocol.h"

namespace tutti::media_worker {

void write_message(WorkerTag tag, const void* data, size_t bytes);

enum class FailureKind : unsigned char { kInvalid = 0, kTooLarge = 1 };
// `sentence` has no item's name and no full stop at the end.
[[noreturn]] void fail(std::string_view sentence, FailureKind kind = FailureKind::kInvalid);
// The sentence for an error code of FFmpeg while doing `what`.
[[noreturn]] void fail_with(int error, std::string_view what);

}  // namespace tutti::media_worker
