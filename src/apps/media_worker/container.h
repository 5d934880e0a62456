// A container in the worker's input, opened with FFmpeg: which streams it has, how much is in them,
// and their packets. Every failure ends the job with its sentence (output.h).
//
// Thread: one. Ownership: FFmpeg's objects are held by the pointers below.
#pragma once

#include <cstdint>
#include <memory>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

namespace tutti::media_worker {

struct FreeFfmpeg {
  void operator()(AVFormatContext* context) const { avformat_close_input(&context); }
  void operator()(AVIOContext* io) const;
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVCodecContext* decoder) const { avcodec_free_context(&decoder); }
};
using Packet = std::unique_ptr<AVPacket, FreeFfmpeg>;
using Frame = std::unique_ptr<AVFrame, FreeFfmpeg>;
using Decoder = std::unique_ptr<AVCodecContext, FreeFfmpeg>;
// Never null: without memory the job has failed.
Packet make_packet();
Frame make_frame();

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
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  AVStream* video() const { return video_; }  // null: none
  AVStream* sound() const { return sound_; }
  // The next packet, or false at the end.
  bool next(AVPacket* packet);
  // Reads to the end; the container cannot be read afterwards.
  Survey survey();

 private:
  void check_index() const;

  InputRange input_;  // read by io_
  std::unique_ptr<AVIOContext, FreeFfmpeg> io_;
  std::unique_ptr<AVFormatContext, FreeFfmpeg> context_;
  AVStream* video_ = nullptr;
  AVStream* sound_ = nullptr;
};

// A decoder for the stream, of a codec that is allowed.
Decoder open_decoder(const AVStream* stream, int64_t max_pixels);

}  // namespace tutti::media_worker
