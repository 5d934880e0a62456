// Sampled frames of a container's video, as RGB.
//
// Thread: one at a time. Failures end the job.
#pragma once

#include <cstdint>
#include <vector>

#include "apps/media_worker/container.h"
#include "media/worker_protocol.h"

extern "C" {
#include <libswscale/swscale.h>
}

namespace tutti::media_worker {

// Numbers of the frames to take of `total`, ascending. Formula: sample_frames() of transformers'
// qwen2_vl video processor: as many as `fps` gives within the limits, rounded down to the multiple,
// at equal steps from the first.
std::vector<int64_t> sampled_frames(int64_t total, double container_fps,
                                    const WorkerRequest& request);

// How many frames the stream shows. Packets are counted where each holds one, else decoded: VP8,
// VP9 and AV1 have packets that are never shown.
int64_t count_frames(InputRange input, const Survey& survey, const WorkerRequest& request);

class FrameWriter {
 public:
  FrameWriter(const AVStream* stream, int64_t total, double container_fps,
              const WorkerRequest& request);
  // Decodes the packet (null: the rest) and writes the frames that are wanted.
  void push(const AVPacket* packet);
  // After push(nullptr). Fails when frames are missing.
  void check_complete() const;

 private:
  void take(const AVFrame* frame);
  void write(const AVFrame* frame);

  struct FreeScaler {
    void operator()(SwsContext* scaler) const { sws_freeContext(scaler); }
  };

  Decoder decoder_;
  Frame frame_;
  std::unique_ptr<SwsContext, FreeScaler> scaler_;
  std::vector<int64_t> wanted_;
  double fps_ = 0;  // of the wanted frames
  size_t written_ = 0;
  int64_t seen_ = 0;
  int64_t total_ = 0;
  int width_ = 0;
  int height_ = 0;
  std::vector<uint8_t> rgb_;
  int64_t max_pixels_;
};

}  // namespace tutti::media_worker
