// Any bytes as a container, through the media worker's code: a failure, or messages that the engine
// accepts and that make a clip within the limits.
#include <cmath>
#include <cstdlib>
#include <span>

#include "fuzz/worker_job.h"
#include "media/video_file.h"

namespace {

constexpr int64_t kPixels = 256 * 256;  // decoders' own buffers are wider than small frames
constexpr double kSeconds = 5;
constexpr int kFrames = 4;

void check(const tutti::Result<tutti::Clip>& clip) {
  // The engine may still refuse what it is told; its error is then the file's, not the worker's.
  if (!clip.ok()) {
    if (clip.error().code() == tutti::StatusCode::kInternal) std::abort();
    return;
  }
  const tutti::Tensor& frames = clip->frames;
  if (frames.dim(0) < 1 || frames.dim(0) > kFrames) std::abort();
  if (frames.dim(1) * frames.dim(2) > kPixels || !(clip->fps > 0)) std::abort();
  for (const float sample : clip->samples) {
    if (!std::isfinite(sample)) std::abort();
  }
}

// False when the job failed.
bool run(const tutti::WorkerRequest& request, const uint8_t* data, size_t size) {
  tutti::VideoOptions options;
  options.sampling.max_frames = kFrames;
  options.with_sound = true;
  options.limits.max_seconds = kSeconds;
  options.limits.max_pixels = kPixels;
  try {
    const auto messages = tutti::fuzzing::run_worker_job(request, data, size);
    if (request.want_frames == 0) return true;  // of sound alone receive_clip() makes nothing
    tutti::MediaWorker worker = tutti::fuzzing::worker_that_wrote(messages);
    check(tutti::receive_clip(worker, options));
    return true;
  } catch (const tutti::fuzzing::JobFailed& failed) {
    if (failed.sentence.empty()) std::abort();
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tutti::WorkerRequest request;
  request.want_frames = request.want_sound = 1;
  request.fps = 2;
  request.min_frames = 2;
  request.max_frames = kFrames;
  request.frame_multiple = 2;
  request.max_seconds = kSeconds;
  request.max_pixels = kPixels;
  request.max_memory_bytes = request.max_cpu_seconds = 1;  // limits of a process
  if (run(request, data, size)) return 0;
  request.want_frames = 0;  // as a sound file
  run(request, data, size);
  return 0;
}
