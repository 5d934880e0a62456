// The `tutti-media` program: decodes one container from standard input to standard output, apart
// from the engine, so that a decoder's crash costs one request. The engine starts it; see
// media/worker_protocol.h.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "apps/media_worker/container.h"
#include "apps/media_worker/frames.h"
#include "apps/media_worker/output.h"
#include "apps/media_worker/samples.h"
#include "apps/media_worker/sandbox.h"

namespace tutti::media_worker {
namespace {

void run(const WorkerRequest& request, InputRange input) {
  Container first(input);
  const bool has_video = first.video() != nullptr, has_sound = first.sound() != nullptr;
  if (request.want_frames != 0 && !has_video) {
    fail(has_sound ? "the container has no frames, only sound; at least one frame is needed"
                   : "the container has no frames; at least one is needed");
  }
  if (request.want_frames == 0 && !has_sound) {
    fail(has_video ? "the container has no sound, only pictures" : "the container has no sound");
  }
  const Survey survey = first.survey();
  first.close();
  if (survey.seconds > request.max_seconds) {
    fail(fmt::format("it lasts {:.1f} s; at most {:.1f} s are allowed", survey.seconds,
                     request.max_seconds),
         FailureKind::kTooLarge);
  }
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
  AVPacket* packet = av_packet_alloc();
  while (container.next(packet)) {
    if (frames && packet->stream_index == container.video()->index) frames->push(packet);
    if (samples && packet->stream_index == container.sound()->index) samples->push(packet);
    av_packet_unref(packet);
  }
  if (frames) frames->push(nullptr);
  if (samples) samples->push(nullptr);
  if (frames) frames->check_complete();
  write_message(WorkerTag::kDone, nullptr, 0);
}

int start() {
  WorkerRequest request;
  struct stat info = {};
  if (fstat(STDIN_FILENO, &info) != 0 || !S_ISREG(info.st_mode) ||
      pread(STDIN_FILENO, &request, sizeof request, 0) != sizeof request ||
      request.version != kWorkerVersion) {
    std::fputs("tutti-media is started by the engine and takes no other input\n", stderr);
    return 2;
  }
  if (!enter_sandbox(request)) fail("the decoder's limits could not be set");
  av_log_set_level(AV_LOG_QUIET);
  run(request, {static_cast<int64_t>(sizeof request), info.st_size, 0});
  return 0;
}

}  // namespace
}  // namespace tutti::media_worker

int main() { return tutti::media_worker::start(); }
