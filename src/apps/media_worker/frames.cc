#include "apps/media_worker/frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/media_worker/output.h"

namespace tutti::media_worker {

namespace {

// Of the scaler's vector code, which writes past the end of a row.
constexpr size_t kRowPadding = 64;
// Products of measured frame rates come out just below whole numbers.
constexpr double kRounding = 1e-6;

void check_pixels(int64_t width, int64_t height, int64_t most) {
  if (width < 1 || height < 1) fail("the video's frames have no pixels");
  if (width * height <= most) return;
  fail(fmt::format("the video's frames are {}x{} ({:.1f} megapixels); at most {:.1f} megapixels "
                   "are allowed",
                   width, height, static_cast<double>(width * height) / 1e6,
                   static_cast<double>(most) / 1e6),
       FailureKind::kTooLarge);
}

// Calls take(frame) for each frame that the packet completes.
template <typename Take>
void decode(AVCodecContext* decoder, const AVPacket* packet, AVFrame* frame, const Take& take) {
  int error = avcodec_send_packet(decoder, packet);
  if (error < 0 && error != AVERROR_EOF) fail_with(error, "decoding the video");
  while ((error = avcodec_receive_frame(decoder, frame)) >= 0) {
    take(frame);
    av_frame_unref(frame);
  }
  if (error != AVERROR(EAGAIN) && error != AVERROR_EOF) fail_with(error, "decoding the video");
}

}  // namespace

std::vector<int64_t> sampled_frames(int64_t total, double container_fps,
                                    const WorkerRequest& request) {
  if (total < 1) return {};
  const int64_t multiple = std::max(1, request.frame_multiple);
  const auto down = [&](double count) {
    return static_cast<int64_t>(count + kRounding) / multiple * multiple;
  };
  const int64_t most = down(static_cast<double>(std::min<int64_t>(request.max_frames, total)));
  double count = static_cast<double>(total);
  if (container_fps > 0) count *= request.fps / container_fps;
  count =
      std::min(std::max(count, static_cast<double>(request.min_frames)), static_cast<double>(most));
  // A clip that is shorter than the multiple is taken whole.
  const int64_t taken =
      down(count) > 0 ? down(count) : std::min<int64_t>(total, request.max_frames);
  std::vector<int64_t> out;
  for (int64_t i = 0; i < taken; ++i) out.push_back(i * total / taken);
  return out;
}

int64_t count_frames(InputRange input, const Survey& survey, const WorkerRequest& request) {
  Container container(input);
  const AVStream* stream = container.video();
  check_pixels(stream->codecpar->width, stream->codecpar->height, request.max_pixels);
  const AVCodecID id = stream->codecpar->codec_id;
  if (id != AV_CODEC_ID_VP8 && id != AV_CODEC_ID_VP9 && id != AV_CODEC_ID_AV1) {
    return survey.video_packets;
  }
  const Decoder decoder = open_decoder(stream, request.max_pixels);
  const Packet packet = make_packet();
  const Frame frame = make_frame();
  int64_t shown = 0;
  const auto count = [&](const AVFrame*) { ++shown; };
  while (container.next(packet.get())) {
    if (packet->stream_index == stream->index) {
      decode(decoder.get(), packet.get(), frame.get(), count);
    }
    av_packet_unref(packet.get());
  }
  decode(decoder.get(), nullptr, frame.get(), count);
  return shown;
}

FrameWriter::FrameWriter(const AVStream* stream, int64_t total, double container_fps,
                         const WorkerRequest& request)
    : decoder_(open_decoder(stream, request.max_pixels)),
      frame_(make_frame()),
      wanted_(sampled_frames(total, container_fps, request)),
      total_(total),
      max_pixels_(request.max_pixels) {
  if (wanted_.empty()) fail("the video has no frames; at least one is needed");
  const double rate = container_fps > 0 ? container_fps : request.fps;
  fps_ = rate * static_cast<double>(wanted_.size()) / static_cast<double>(total);
}

void FrameWriter::push(const AVPacket* packet) {
  decode(decoder_.get(), packet, frame_.get(), [this](const AVFrame* frame) { take(frame); });
}

void FrameWriter::take(const AVFrame* frame) {
  const int64_t number = seen_++;
  if (written_ < wanted_.size() && wanted_[written_] == number) {
    write(frame);
    ++written_;
  }
}

// Later frames of another size are scaled to the first one's.
void FrameWriter::write(const AVFrame* frame) {
  check_pixels(frame->width, frame->height, max_pixels_);
  if (written_ == 0) {
    width_ = frame->width;
    height_ = frame->height;
    rgb_.resize(static_cast<size_t>(width_) * height_ * 3 + kRowPadding);
    const WorkerVideo video = {static_cast<int32_t>(wanted_.size()), width_, height_, 0, fps_};
    write_message(WorkerTag::kVideo, &video, sizeof video);
  }
  scaler_.reset(sws_getCachedContext(scaler_.release(), frame->width, frame->height,
                                     static_cast<AVPixelFormat>(frame->format), width_, height_,
                                     AV_PIX_FMT_RGB24, SWS_BICUBIC, nullptr, nullptr, nullptr));
  if (scaler_ == nullptr) fail("the video's colours have a format that cannot be read");
  const bool full = frame->color_range == AVCOL_RANGE_JPEG;
  const int* matrix = sws_getCoefficients(frame->colorspace);
  // Contrast and saturation 1, in 16.16 fixed point.
  sws_setColorspaceDetails(scaler_.get(), matrix, full, sws_getCoefficients(SWS_CS_DEFAULT), 1, 0,
                           1 << 16, 1 << 16);
  uint8_t* planes[4] = {rgb_.data(), nullptr, nullptr, nullptr};
  const int strides[4] = {width_ * 3, 0, 0, 0};
  const int rows =
      sws_scale(scaler_.get(), frame->data, frame->linesize, 0, frame->height, planes, strides);
  if (rows != height_) fail("the video's colours cannot be converted");
  write_message(WorkerTag::kFrame, rgb_.data(), static_cast<size_t>(width_) * height_ * 3);
}

void FrameWriter::check_complete() const {
  if (written_ == wanted_.size()) return;
  fail(fmt::format("the video is truncated or corrupt: it tells of {} frames, {} could be decoded",
                   total_, seen_));
}

}  // namespace tutti::media_worker
