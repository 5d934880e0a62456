// A container in the worker's input, opened with FFmpeg: which streams it has, how much is in them,
// and their packets. Every failure ends the process with its sentence.
//
// Thread: one. Ownership: nothing is freed before the process ends, except by close().
#pragma once

#include <cstdint>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

namespace tutti::media_worker {

// Bytes [begin, end) of standard input.
struct InputRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t at = 0;
};

// What a pass over all packets found.
struct Survey {
  int64_t video_packets = 0;  // that are shown
  double video_fps = 0;       // mean
  double seconds = 0;         // end of the last packet of any stream
  // End of the sound's last packet, in units of its stream; encoders fill the last block up.
  int64_t sound_end = AV_NOPTS_VALUE;
};

class Container {
 public:
  explicit Container(InputRange input);

  AVStream* video() const { return video_; }  // null: none
  AVStream* sound() const { return sound_; }
  // The next packet, or false at the end.
  bool next(AVPacket* packet);
  // Reads to the end; the container cannot be read afterwards.
  Survey survey();
  void close();

 private:
  void check_index() const;

  InputRange input_;
  AVFormatContext* context_ = nullptr;
  AVStream* video_ = nullptr;
  AVStream* sound_ = nullptr;
};

// A decoder for the stream, of a codec that is allowed.
AVCodecContext* open_decoder(const AVStream* stream, int64_t max_pixels);

}  // namespace tutti::media_worker
