#include "apps/media_worker/job.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/media_worker/frames.h"
#include "apps/media_worker/output.h"
#include "apps/media_worker/samples.h"

namespace tutti::media_worker {

namespace {

// A first pass over the container, which also finds out what it lacks.
Survey survey_of(InputRange input, const WorkerRequest& request, bool& has_sound) {
  Container first(input);
  const bool has_video = first.video() != nullptr;
  has_sound = first.sound() != nullptr;
  if (request.want_frames != 0 && !has_video) {
    fail(has_sound ? "the container has no frames, only sound; at least one frame is needed"
                   : "the container has no frames; at least one is needed");
  }
  if (request.want_frames == 0 && !has_sound) {
    fail(has_video ? "the container has no sound, only pictures" : "the container has no sound");
  }
  const Survey survey = first.survey();
  if (survey.seconds > request.max_seconds) {
    fail(fmt::format("it lasts {:.1f} s; at most {:.1f} s are allowed", survey.seconds,
                     request.max_seconds),
         FailureKind::kTooLarge);
  }
  return survey;
}

}  // namespace

bool is_usable(const WorkerRequest& request) {
  constexpr double kMostFps = 1e6, kMostSeconds = 1e9;
  const bool some = request.want_frames != 0 || request.want_sound != 0;
  const bool frames = request.want_frames == 0 ||
                      (request.fps > 0 && request.fps <= kMostFps && request.min_frames >= 0 &&
                       request.max_frames >= 1 && request.frame_multiple >= 1);
  return request.version == kWorkerVersion && some && frames && request.max_seconds > 0 &&
         request.max_seconds <= kMostSeconds && request.max_pixels > 0 &&
         request.max_memory_bytes > 0 && request.max_cpu_seconds > 0;
}

void run_job(const WorkerRequest& request, InputRange input) {
  bool has_sound = false;
  const Survey survey = survey_of(input, request, has_sound);
  const int64_t total = request.want_frames != 0 ? count_frames(input, survey, request) : 0;

  Container container(input);
  std::unique_ptr<FrameWriter> frames;
  std::unique_ptr<SampleWriter> samples;
  if (request.want_frames != 0) {
    frames = std::make_unique<FrameWriter>(container.video(), total, survey.video_fps, request);
  }
  if (request.want_sound != 0 && has_sound) {
    samples = std::make_unique<SampleWriter>(container.sound(), survey.sound_end, request);
  }
  const Packet packet = make_packet();
  while (container.next(packet.get())) {
    if (frames && packet->stream_index == container.video()->index) frames->push(packet.get());
    if (samples && packet->stream_index == container.sound()->index) samples->push(packet.get());
    av_packet_unref(packet.get());
  }
  if (frames) frames->push(nullptr);
  if (samples) samples->push(nullptr);
  if (frames) frames->check_complete();
  write_message(WorkerTag::kDone, nullptr, 0);
}

}  // namespace tutti::media_worker
