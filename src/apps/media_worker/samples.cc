#include "apps/media_worker/samples.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/media_worker/output.h"

namespace tutti::media_worker {

namespace {

constexpr int kMostChannels = 32;

// Adds one channel of the frame; T's values in -scale..scale become -1..1 after `bias`.
template <typename T>
void add_channel(const AVFrame* frame, int channel, int channels, double scale, double bias,
                 std::vector<float>& mono) {
  const bool planar = av_sample_fmt_is_planar(static_cast<AVSampleFormat>(frame->format)) != 0;
  const T* in = reinterpret_cast<const T*>(frame->extended_data[planar ? channel : 0]) +
                (planar ? 0 : channel);
  const int step = planar ? 1 : channels;
  const double factor = 1.0 / (scale * channels);
  for (size_t i = 0; i < mono.size(); ++i, in += step) {
    mono[i] += static_cast<float>((static_cast<double>(*in) - bias) * factor);
  }
}

void add_channel(const AVFrame* frame, int channel, int channels, std::vector<float>& mono) {
  switch (av_get_packed_sample_fmt(static_cast<AVSampleFormat>(frame->format))) {
    case AV_SAMPLE_FMT_U8:
      return add_channel<uint8_t>(frame, channel, channels, 128, 128, mono);
    case AV_SAMPLE_FMT_S16:
      return add_channel<int16_t>(frame, channel, channels, 32768, 0, mono);
    case AV_SAMPLE_FMT_S32:
      return add_channel<int32_t>(frame, channel, channels, 2147483648.0, 0, mono);
    case AV_SAMPLE_FMT_FLT:
      return add_channel<float>(frame, channel, channels, 1, 0, mono);
    case AV_SAMPLE_FMT_DBL:
      return add_channel<double>(frame, channel, channels, 1, 0, mono);
    default:
      fail("the sound's samples have a format that cannot be read");
  }
}

}  // namespace

SampleWriter::SampleWriter(const AVStream* stream, int64_t end, const WorkerRequest& request)
    : decoder_(open_decoder(stream, request.max_pixels)),
      frame_(make_frame()),
      unit_(stream->time_base),
      end_(end),
      max_seconds_(request.max_seconds) {}

void SampleWriter::push(const AVPacket* packet) {
  int error = avcodec_send_packet(decoder_.get(), packet);
  if (error < 0 && error != AVERROR_EOF) fail_with(error, "decoding the sound");
  while ((error = avcodec_receive_frame(decoder_.get(), frame_.get())) >= 0) {
    take(frame_.get());
    av_frame_unref(frame_.get());
  }
  if (error != AVERROR(EAGAIN) && error != AVERROR_EOF) fail_with(error, "decoding the sound");
}

int64_t SampleWriter::samples_before_end(const AVFrame* frame) const {
  if (frame->pts == AV_NOPTS_VALUE || end_ == AV_NOPTS_VALUE) return frame->nb_samples;
  const int64_t left = av_rescale_q(av_sat_sub64(end_, frame->pts), unit_, {1, sample_rate_});
  return std::clamp<int64_t>(left, 0, frame->nb_samples);
}

void SampleWriter::take(const AVFrame* frame) {
  const int channels = frame->ch_layout.nb_channels;
  if (sample_rate_ == 0) {
    sample_rate_ = frame->sample_rate;
    channels_ = channels;
    if (channels < 1 || channels > kMostChannels) {
      fail(fmt::format("the sound has {} channels; allowed are 1 to {}", channels, kMostChannels));
    }
    if (sample_rate_ < 1) fail("the sound has no sample rate");
    const WorkerSound sound = {sample_rate_};
    write_message(WorkerTag::kSound, &sound, sizeof sound);
  }
  if (frame->sample_rate != sample_rate_ || channels != channels_) {
    fail("the sound changes its sample rate or channels midway");
  }
  mono_.assign(static_cast<size_t>(samples_before_end(frame)), 0.0f);
  for (int c = 0; c < channels; ++c) add_channel(frame, c, channels, mono_);
  written_ += static_cast<int64_t>(mono_.size());
  const double seconds = static_cast<double>(written_) / sample_rate_;
  if (seconds > max_seconds_) {
    fail(fmt::format("the sound lasts longer than the {:.1f} s that are allowed", max_seconds_),
         FailureKind::kTooLarge);
  }
  for (size_t at = 0; at < mono_.size(); at += kMostSamplesPerMessage) {
    const size_t count = std::min<size_t>(kMostSamplesPerMessage, mono_.size() - at);
    write_message(WorkerTag::kSamples, mono_.data() + at, count * sizeof(float));
  }
}

}  // namespace tutti::media_worker
