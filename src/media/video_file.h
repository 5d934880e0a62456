// Containers (mp4, m4a, mov, webm, mkv) and bare AAC to frames and mono samples, decoded by the
// program `tutti-media` in a process of its own: what breaks a decoder costs one item.
//
// Thread: free functions, any thread; they wait for the worker. Errors are sentences without the
// item's name; the caller puts "video 2: " before them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tutti/status.h"

#include "media/audio_file.h"
#include "media/clip.h"
#include "media/image_features.h"

namespace tutti {

class MediaWorker;  // media/media_worker.h

// Which frames of a clip are taken. Formula: sample_frames() of transformers' qwen2_vl video
// processor.
struct FrameSampling {
  double fps = 2;          // of the clip's time
  int32_t min_frames = 4;  // as far as the clip has them
  int32_t max_frames = 768;
  int32_t multiple = 2;  // the number is rounded down to a multiple of this
};

struct VideoLimits {
  int64_t max_bytes = 512'000'000;        // of the file
  int64_t max_pixels = 16'000'000;        // of a frame as it is stored
  int64_t max_frame_bytes = 512'000'000;  // of the frames that are kept
  double max_seconds = 3600;
  double deadline_s = 120;                      // of decoding
  int64_t max_memory_bytes = int64_t{2} << 30;  // of the process that decodes
};

struct VideoOptions {
  FrameSampling sampling;
  bool with_sound = false;
  int32_t sample_rate = 16000;  // Hz, of the sound that comes out
  // The size that frames of this size are kept at; none: as they are. Frames are resized as they
  // come, so that no more than one is held at full size.
  std::function<Result<Size>(Size)> kept_size = nullptr;
  VideoLimits limits;
  std::string worker;  // the program; empty: found as MediaWorker says
};

// Whether decode_audio() and decode_video() need the worker for it.
bool is_container(std::span<const std::byte> bytes);

// Frames never empty; samples empty when there is no sound. Errors: no container, no frames,
// truncated or corrupt, a codec that is not allowed, past a limit or the deadline, a crash.
Result<Clip> decode_video(std::span<const std::byte> bytes, const VideoOptions& options);

// What decode_video() makes of a worker's messages, whatever they are.
Result<Clip> receive_clip(MediaWorker& worker, const VideoOptions& options);

// Mono samples at `sample_rate`; never empty. Called by decode_audio().
Result<std::vector<float>> decode_container_sound(std::span<const std::byte> bytes,
                                                  int32_t sample_rate, const AudioLimits& limits,
                                                  const std::string& worker = {});

}  // namespace tutti
