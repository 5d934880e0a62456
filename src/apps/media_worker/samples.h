// A container's sound as mono samples at its own rate.
//
// Thread: one at a time. Failures end the job.
#pragma once

#include <cstdint>
#include <vector>

#include "apps/media_worker/container.h"
#include "media/worker_protocol.h"

namespace tutti::media_worker {

class SampleWriter {
 public:
  // Drops what lies past `end`, in units of the stream, where it is known.
  SampleWriter(const AVStream* stream, int64_t end, const WorkerRequest& request);
  // Decodes the packet (null: the rest) and writes the mean of its channels.
  void push(const AVPacket* packet);

 private:
  void take(const AVFrame* frame);
  int64_t samples_before_end(const AVFrame* frame) const;

  Decoder decoder_;
  Frame frame_;
  int sample_rate_ = 0;
  int channels_ = 0;
  int64_t written_ = 0;
  AVRational unit_;
  int64_t end_;
  double max_seconds_;
  std::vector<float> mono_;
};

}  // namespace tutti::media_worker
