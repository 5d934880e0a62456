// What the engine and the program `tutti-media` say to each other. The worker's input is a sealed
// file: one WorkerRequest, then the container's bytes. Its output is messages: a WorkerHeader and
// as many bytes of payload. Both run on one machine, so that structs travel as they are.
//
// Thread: plain data. Invariant: the engine trusts nothing that a worker writes.
#pragma once

#include <cstdint>

namespace tutti {

constexpr uint32_t kWorkerVersion = 1;
constexpr uint32_t kMostSamplesPerMessage = 1 << 16;
constexpr uint32_t kMostFailureBytes = 400;

struct WorkerRequest {
  uint32_t version = kWorkerVersion;
  uint32_t want_frames = 0;
  uint32_t want_sound = 0;
  // Which frames: `fps` a second of the clip, within the two limits, a multiple of the last.
  int32_t min_frames = 0;
  int32_t max_frames = 0;
  int32_t frame_multiple = 1;
  double fps = 0;
  double max_seconds = 0;
  int64_t max_pixels = 0;        // of a frame
  int64_t max_memory_bytes = 0;  // of the worker's address space
  int64_t max_cpu_seconds = 0;
};

enum class WorkerTag : uint32_t {
  kVideo = 1,    // WorkerVideo, once, before frames
  kFrame = 2,    // RGB24, rows without gaps
  kSound = 3,    // WorkerSound, once, before samples
  kSamples = 4,  // F32, mono, at most kMostSamplesPerMessage
  kFailed = 5,   // one byte 1 when the container is too large, else 0; then a sentence
  kDone = 6,
};

struct WorkerHeader {
  WorkerTag tag = WorkerTag::kDone;
  uint32_t bytes = 0;
};

struct WorkerVideo {
  int32_t frames = 0;
  int32_t width = 0;
  int32_t height = 0;
  int32_t unused = 0;
  double fps = 0;  // of the frames that follow
};

struct WorkerSound {
  int32_t sample_rate = 0;  // Hz
};

}  // namespace tutti
