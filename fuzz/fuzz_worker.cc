// Any bytes between the engine and its media worker. The first byte says in which direction: as
// messages they are an error or a clip within the limits, as a request they are refused or choose
// frames that a clip has.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <span>

#include "apps/media_worker/frames.h"
#include "apps/media_worker/job.h"
#include "fuzz/worker_job.h"
#include "media/video_file.h"

namespace {

constexpr int64_t kMostFrames = 100'000;  // of the clip that a request is about

void engine_reads(std::span<const std::byte> messages, bool resized) {
  tutti::VideoOptions options;
  options.with_sound = true;
  options.sampling.max_frames = 8;
  options.limits.max_pixels = 64 * 64;
  options.limits.max_seconds = 2;
  options.limits.max_frame_bytes = 100'000;
  if (resized) {
    options.kept_size = [](tutti::Size) { return tutti::Result<tutti::Size>({3, 5}); };
  }
  tutti::MediaWorker worker = tutti::fuzzing::worker_that_wrote(messages);
  const auto clip = tutti::receive_clip(worker, options);
  if (!clip.ok()) {
    if (clip.error().message().empty()) std::abort();
    return;
  }
  if (static_cast<int64_t>(clip->frames.bytes()) > options.limits.max_frame_bytes ||
      clip->frames.dim(0) < 1 || !std::isfinite(clip->fps) ||
      !std::ranges::all_of(clip->samples, [](float s) { return std::isfinite(s); })) {
    std::abort();
  }
}

void worker_reads(std::span<const std::byte> bytes) {
  tutti::WorkerRequest request;
  struct {
    int64_t frames;
    double fps;
  } clip;
  if (bytes.size() < sizeof request + sizeof clip) return;
  std::memcpy(&request, bytes.data(), sizeof request);
  std::memcpy(&clip, bytes.data() + sizeof request, sizeof clip);
  clip.frames = std::clamp<int64_t>(clip.frames, 0, kMostFrames);
  if (!tutti::media_worker::is_usable(request) || request.want_frames == 0) return;
  const auto taken = tutti::media_worker::sampled_frames(clip.frames, clip.fps, request);
  const auto most = std::min<int64_t>(request.max_frames, clip.frames);
  if (static_cast<int64_t>(taken.size()) > most || (clip.frames > 0 && taken.empty())) std::abort();
  for (size_t i = 0; i < taken.size(); ++i) {
    if (taken[i] < 0 || taken[i] >= clip.frames || (i > 0 && taken[i] <= taken[i - 1]))
      std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto rest = std::as_bytes(std::span(data + 1, size - 1));
  if ((data[0] & 1) == 0) {
    engine_reads(rest, (data[0] & 2) != 0);
  } else {
    worker_reads(rest);
  }
  return 0;
}
