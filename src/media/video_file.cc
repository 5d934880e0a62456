#include "media/video_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/strings.h"
#include "media/image_resize.h"
#include "media/media_file.h"
#include "media/media_worker.h"
#include "media/resampler.h"

namespace tutti {
namespace {

Status broken_protocol(std::string_view what) {
  return internal_error(fmt::format("the decoder's output is not as agreed: {}", what));
}

template <typename T>
Status read_struct(MediaWorker& worker, const WorkerHeader& header, T& out) {
  if (header.bytes != sizeof(T)) return broken_protocol("a message has another size");
  return worker.read(&out, sizeof(T));
}

// Puts frames together, each at the size that is kept.
class Frames {
 public:
  explicit Frames(const VideoOptions& options) : options_(options) {}

  Status begin(MediaWorker& worker, const WorkerHeader& header) {
    if (stored_.defined()) return broken_protocol("it tells of its frames twice");
    TUTTI_RETURN_IF_ERROR(read_struct(worker, header, video_));
    const VideoLimits& limits = options_.limits;
    if (video_.frames < 1 || video_.frames > options_.sampling.max_frames || video_.width < 1 ||
        video_.height < 1 || int64_t{video_.width} * video_.height > limits.max_pixels ||
        !(video_.fps > 0) || !std::isfinite(video_.fps)) {
      return broken_protocol("its frames are past the limits");
    }
    kept_ = {video_.height, video_.width};
    if (options_.kept_size) {
      TUTTI_ASSIGN_OR_RETURN(kept_, options_.kept_size(kept_));
    }
    const int64_t bytes = video_.frames * kept_.height * kept_.width * 3;
    if (bytes > limits.max_frame_bytes) {
      return payload_too_large(fmt::format(
          "its {} frames of {}x{} pixels take {}; at most {} are allowed", video_.frames,
          kept_.width, kept_.height, human_bytes(static_cast<double>(bytes)),
          human_bytes(static_cast<double>(limits.max_frame_bytes))));
    }
    stored_ = Tensor::empty({video_.height, video_.width, 3}, DType::kU8);
    frames_ = Tensor::empty({video_.frames, kept_.height, kept_.width, 3}, DType::kU8);
    return {};
  }

  Status add(MediaWorker& worker, const WorkerHeader& header) {
    if (!stored_.defined() || count_ == video_.frames || header.bytes != stored_.bytes()) {
      return broken_protocol("a frame is not of the size or number told");
    }
    TUTTI_RETURN_IF_ERROR(worker.read(stored_.raw_data(), header.bytes));
    const Tensor resized = resize_bicubic(stored_, kept_);
    std::memcpy(frames_.select(count_++).raw_data(), resized.raw_data(), resized.bytes());
    return {};
  }

  Status take(Clip& clip) {
    if (!stored_.defined() || count_ != video_.frames) return broken_protocol("frames are missing");
    clip.frames = std::move(frames_);
    clip.fps = video_.fps;
    return {};
  }

 private:
  const VideoOptions& options_;
  WorkerVideo video_;
  Size kept_;
  Tensor stored_;  // the frame at hand
  Tensor frames_;
  int64_t count_ = 0;
};

// Takes samples to the model's rate as they come.
class Sound {
 public:
  Sound(int32_t sample_rate, double max_seconds)
      : sample_rate_(sample_rate), max_seconds_(max_seconds) {}

  Status begin(MediaWorker& worker, const WorkerHeader& header) {
    if (resampler_) return broken_protocol("it tells of its sound twice");
    TUTTI_RETURN_IF_ERROR(read_struct(worker, header, sound_));
    TUTTI_ASSIGN_OR_RETURN(resampler_, Resampler::create(sound_.sample_rate, sample_rate_));
    return {};
  }

  Status add(MediaWorker& worker, const WorkerHeader& header) {
    const size_t count = header.bytes / sizeof(float);
    if (!resampler_ || header.bytes % sizeof(float) != 0 || count > kMostSamplesPerMessage) {
      return broken_protocol("samples are not of the size told");
    }
    block_.resize(count);
    TUTTI_RETURN_IF_ERROR(worker.read(block_.data(), header.bytes));
    total_ += static_cast<int64_t>(count);
    if (static_cast<double>(total_) > max_seconds_ * sound_.sample_rate) {
      return broken_protocol("its sound is past the limit");
    }
    return resampler_->push(block_, samples_);
  }

  Result<std::vector<float>> take() {
    if (resampler_) TUTTI_RETURN_IF_ERROR(resampler_->finish(samples_));
    return std::move(samples_);
  }

 private:
  int32_t sample_rate_;
  double max_seconds_;
  WorkerSound sound_;
  std::optional<Resampler> resampler_;
  std::vector<float> block_;
  std::vector<float> samples_;
  int64_t total_ = 0;
};

// Every message until the last; `frames` is null where only sound was asked for.
Status receive(MediaWorker& worker, Frames* frames, Sound& sound) {
  for (;;) {
    TUTTI_ASSIGN_OR_RETURN(const WorkerHeader header, worker.next());
    const bool pictures = header.tag == WorkerTag::kVideo || header.tag == WorkerTag::kFrame;
    if (pictures && frames == nullptr) return broken_protocol("frames were not asked for");
    switch (header.tag) {
      case WorkerTag::kVideo:
        TUTTI_RETURN_IF_ERROR(frames->begin(worker, header));
        break;
      case WorkerTag::kFrame:
        TUTTI_RETURN_IF_ERROR(frames->add(worker, header));
        break;
      case WorkerTag::kSound:
        TUTTI_RETURN_IF_ERROR(sound.begin(worker, header));
        break;
      case WorkerTag::kSamples:
        TUTTI_RETURN_IF_ERROR(sound.add(worker, header));
        break;
      case WorkerTag::kFailed:
      case WorkerTag::kDone:
        return {};
    }
  }
}

WorkerRequest request_of(const VideoLimits& limits) {
  WorkerRequest request;
  request.max_seconds = limits.max_seconds;
  request.max_pixels = limits.max_pixels;
  request.max_memory_bytes = limits.max_memory_bytes;
  request.max_cpu_seconds = static_cast<int64_t>(std::ceil(limits.deadline_s)) + 1;
  return request;
}

}  // namespace

bool is_container(std::span<const std::byte> bytes) {
  const Content content = content_of(bytes);
  return content == Content::kMp4 || content == Content::kMatroska || content == Content::kAac;
}

Result<Clip> decode_video(std::span<const std::byte> bytes, const VideoOptions& options) {
  TUTTI_RETURN_IF_ERROR(check_media_bytes(bytes, options.limits.max_bytes));
  if (!is_container(bytes)) {
    return invalid_argument(
        fmt::format("the file holds {}, no video that can be read; allowed are mp4, mov, webm "
                    "and mkv",
                    content_name(content_of(bytes))));
  }
  WorkerRequest request = request_of(options.limits);
  request.want_frames = 1;
  request.want_sound = options.with_sound ? 1 : 0;
  request.fps = options.sampling.fps;
  request.min_frames = options.sampling.min_frames;
  request.max_frames = options.sampling.max_frames;
  request.frame_multiple = options.sampling.multiple;
  TUTTI_ASSIGN_OR_RETURN(
      MediaWorker worker,
      MediaWorker::start(bytes, request, options.limits.deadline_s, options.worker));
  return receive_clip(worker, options);
}

Result<Clip> receive_clip(MediaWorker& worker, const VideoOptions& options) {
  Frames frames(options);
  Sound sound(options.sample_rate, options.limits.max_seconds);
  TUTTI_RETURN_IF_ERROR(receive(worker, &frames, sound));
  Clip clip;
  TUTTI_RETURN_IF_ERROR(frames.take(clip));
  TUTTI_ASSIGN_OR_RETURN(clip.samples, sound.take());
  return clip;
}

Result<std::vector<float>> decode_container_sound(std::span<const std::byte> bytes,
                                                  int32_t sample_rate, const AudioLimits& limits,
                                                  const std::string& worker_program) {
  VideoLimits bounds;
  bounds.max_seconds = limits.max_seconds;
  WorkerRequest request = request_of(bounds);
  request.want_sound = 1;
  TUTTI_ASSIGN_OR_RETURN(MediaWorker worker,
                         MediaWorker::start(bytes, request, bounds.deadline_s, worker_program));
  Sound sound(sample_rate, limits.max_seconds);
  TUTTI_RETURN_IF_ERROR(receive(worker, nullptr, sound));
  TUTTI_ASSIGN_OR_RETURN(std::vector<float> samples, sound.take());
  if (samples.empty()) return invalid_argument("the sound has no samples");
  return samples;
}

}  // namespace tutti
