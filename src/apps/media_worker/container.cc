#include "apps/media_worker/container.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/media_worker/output.h"

namespace tutti::media_worker {

namespace {

constexpr int kIoBufferBytes = 1 << 16;
// Demuxers that may run at all: none of them opens a second file.
constexpr const char* kFormats = "mov,matroska,aac";
// Shorter gaps at the end are rounding of the container's clock.
constexpr double kEndSlack_s = 0.5;
constexpr double kEndSlackPart = 0.05;

int read_input(void* opaque, uint8_t* to, int bytes) {
  auto& input = *static_cast<InputRange*>(opaque);
  const int64_t most = std::min<int64_t>(bytes, input.end - input.at);
  if (most <= 0) return AVERROR_EOF;
  const ssize_t got = pread(STDIN_FILENO, to, static_cast<size_t>(most), input.at);
  if (got <= 0) return got == 0 ? AVERROR_EOF : AVERROR(EIO);
  input.at += got;
  return static_cast<int>(got);
}

int64_t seek_input(void* opaque, int64_t offset, int whence) {
  auto& input = *static_cast<InputRange*>(opaque);
  const int64_t size = input.end - input.begin;
  if ((whence & AVSEEK_SIZE) != 0) return size;
  whence &= ~AVSEEK_FORCE;
  const int64_t base = whence == SEEK_CUR ? input.at - input.begin : whence == SEEK_END ? size : 0;
  if (offset < -base || offset > size - base) return AVERROR(EINVAL);
  input.at = input.begin + base + offset;
  return base + offset;
}

int refuse_to_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EPERM);
}

// An EBML number of variable length at `at`, which it moves past; -1 when cut. All ones means that
// a size is not known (RFC 8794, sections 4 and 6.2).
int64_t ebml_number(const std::array<uint8_t, 64>& bytes, size_t& at, bool is_size) {
  size_t length = 1;
  while (length <= 8 && at < bytes.size() && (bytes[at] & (0x80 >> (length - 1))) == 0) ++length;
  if (length > 8 || at + length > bytes.size()) return -1;
  int64_t value = is_size ? bytes[at] & (0x7F >> (length - 1)) : bytes[at];
  for (size_t i = 1; i < length; ++i) value = value << 8 | bytes[at + i];
  at += length;
  const bool unknown = is_size && value == (int64_t{1} << (7 * length)) - 1;
  return unknown ? INT64_MAX : value;
}

// A Matroska file's segment holds all after the header and tells its size, except in live streams.
void check_segment(const InputRange& input) {
  constexpr int64_t kHeader = 0x1A45DFA3, kSegment = 0x18538067;
  std::array<uint8_t, 64> head = {};
  if (pread(STDIN_FILENO, head.data(), head.size(), input.begin) < 16) return;
  size_t at = 0;
  if (ebml_number(head, at, false) != kHeader) return;
  const int64_t header = ebml_number(head, at, true);
  if (header < 0 || header > static_cast<int64_t>(head.size())) return;
  at += static_cast<size_t>(header);
  if (ebml_number(head, at, false) != kSegment) return;
  const int64_t segment = ebml_number(head, at, true);
  const int64_t left = input.end - input.begin - static_cast<int64_t>(at);
  if (segment <= left || segment == INT64_MAX) return;
  fail(
      fmt::format("the container is truncated: it tells of {} bytes, {} are there", segment, left));
}

AVStream* pick(AVFormatContext* context, AVMediaType type) {
  for (unsigned i = 0; i < context->nb_streams; ++i) {
    AVStream* stream = context->streams[i];
    // The cover of an album is no film.
    const bool cover = (stream->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
    if (stream->codecpar->codec_type == type && !cover) return stream;
  }
  return nullptr;
}

bool is_allowed(AVCodecID id) {
  switch (id) {
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_VP8:
    case AV_CODEC_ID_VP9:
    case AV_CODEC_ID_AV1:
    case AV_CODEC_ID_MPEG4:
    case AV_CODEC_ID_MJPEG:
    case AV_CODEC_ID_AAC:
    case AV_CODEC_ID_OPUS:
    case AV_CODEC_ID_VORBIS:
    case AV_CODEC_ID_MP3:
    case AV_CODEC_ID_FLAC:
    case AV_CODEC_ID_ALAC:
    case AV_CODEC_ID_PCM_S16LE:
    case AV_CODEC_ID_PCM_S16BE:
    case AV_CODEC_ID_PCM_S24LE:
    case AV_CODEC_ID_PCM_F32LE:
      return true;
    default:
      return false;
  }
}

}  // namespace

Packet make_packet() {
  Packet packet(av_packet_alloc());
  if (packet == nullptr) fail_with(AVERROR(ENOMEM), "reading the container");
  return packet;
}

Frame make_frame() {
  Frame frame(av_frame_alloc());
  if (frame == nullptr) fail_with(AVERROR(ENOMEM), "opening the decoder");
  return frame;
}

void FreeFfmpeg::operator()(AVIOContext* io) const {
  av_freep(&io->buffer);
  avio_context_free(&io);
}

Container::Container(InputRange input) : input_(input) {
  input_.at = input_.begin;
  check_segment(input_);
  auto* buffer = static_cast<uint8_t*>(av_malloc(kIoBufferBytes));
  if (buffer == nullptr) fail_with(AVERROR(ENOMEM), "opening it");
  io_.reset(
      avio_alloc_context(buffer, kIoBufferBytes, 0, &input_, read_input, nullptr, seek_input));
  AVFormatContext* context = avformat_alloc_context();
  if (io_ == nullptr || context == nullptr) fail_with(AVERROR(ENOMEM), "opening it");
  context->pb = io_.get();
  context->flags |= AVFMT_FLAG_CUSTOM_IO;
  context->io_open = refuse_to_open;
  AVDictionary* options = nullptr;
  av_dict_set(&options, "format_whitelist", kFormats, 0);
  av_dict_set(&options, "protocol_whitelist", "none", 0);
  int error = avformat_open_input(&context, "", nullptr, &options);  // frees it when it fails
  context_.reset(context);
  av_dict_free(&options);
  if (error < 0) fail_with(error, "reading the container's header");
  check_index();
  error = avformat_find_stream_info(context_.get(), nullptr);
  if (error < 0) fail_with(error, "finding the container's streams");
  if (context_->nb_streams == 0) fail("the container is truncated or empty: it has no streams");
  video_ = pick(context_.get(), AVMEDIA_TYPE_VIDEO);
  sound_ = pick(context_.get(), AVMEDIA_TYPE_AUDIO);
}

// The index in the header of a file that was cut points past its end.
void Container::check_index() const {
  const int64_t size = input_.end - input_.begin;
  for (unsigned i = 0; i < context_->nb_streams; ++i) {
    AVStream* stream = context_->streams[i];
    for (int e = 0; e < avformat_index_get_entries_count(stream); ++e) {
      const AVIndexEntry* entry = avformat_index_get_entry(stream, e);
      if (entry->pos <= size - entry->size) continue;
      fail(fmt::format(
          "the container is truncated: its index tells of {} bytes from byte {}, the file has {}",
          static_cast<int>(entry->size), entry->pos, size));
    }
  }
}

bool Container::next(AVPacket* packet) {
  const int error = av_read_frame(context_.get(), packet);
  if (error == AVERROR_EOF) return false;
  if (error < 0) fail_with(error, "reading the container");
  if ((packet->flags & AV_PKT_FLAG_CORRUPT) != 0) {
    fail("the container is truncated or corrupt: a packet is damaged");
  }
  return true;
}

Survey Container::survey() {
  Survey out;
  double first = INFINITY, last = -INFINITY, last_duration = 0;
  const Packet packet = make_packet();
  while (next(packet.get())) {
    const AVStream* stream = context_->streams[packet->stream_index];
    const double unit = av_q2d(stream->time_base);
    const int64_t stamp = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    const double start = stamp == AV_NOPTS_VALUE ? 0 : static_cast<double>(stamp) * unit;
    const double duration = static_cast<double>(packet->duration) * unit;
    out.seconds = std::max(out.seconds, start + duration);
    if (stream == sound_ && packet->pts != AV_NOPTS_VALUE && packet->duration > 0) {
      out.sound_end = std::max(out.sound_end, av_sat_add64(packet->pts, packet->duration));
    }
    if (stream == video_ && (packet->flags & AV_PKT_FLAG_DISCARD) == 0) {
      ++out.video_packets;
      first = std::min(first, start);
      if (start >= last) last_duration = duration;
      last = std::max(last, start);
    }
    av_packet_unref(packet.get());
  }
  const auto steps = static_cast<double>(out.video_packets - 1);
  if (steps > 0 && last > first) {
    out.video_fps = steps / (last - first);
  } else if (last_duration > 0) {
    out.video_fps = 1 / last_duration;
  } else if (video_ != nullptr && video_->avg_frame_rate.num > 0) {
    out.video_fps = av_q2d(video_->avg_frame_rate);
  }
  const bool told =
      context_->duration > 0 && context_->duration_estimation_method != AVFMT_DURATION_FROM_BITRATE;
  const double whole = told ? static_cast<double>(context_->duration) / AV_TIME_BASE : 0;
  if (out.seconds < whole - std::max(kEndSlack_s, whole * kEndSlackPart)) {
    fail(fmt::format("the container is truncated: its header tells of {:.1f} s, {:.1f} s are there",
                     whole, out.seconds));
  }
  return out;
}

Decoder open_decoder(const AVStream* stream, int64_t max_pixels) {
  const AVCodecParameters* parameters = stream->codecpar;
  const AVCodec* codec =
      is_allowed(parameters->codec_id) ? avcodec_find_decoder(parameters->codec_id) : nullptr;
  if (codec == nullptr) {
    fail(
        fmt::format("the container holds a stream of the codec '{}'; allowed are h264, hevc, vp8, "
                    "vp9, av1, mpeg4 and mjpeg, and aac, opus, vorbis, mp3, flac, alac and pcm",
                    avcodec_get_name(parameters->codec_id)));
  }
  Decoder decoder(avcodec_alloc_context3(codec));
  if (decoder == nullptr) fail_with(AVERROR(ENOMEM), "opening the decoder");
  int error = avcodec_parameters_to_context(decoder.get(), parameters);
  if (error < 0) fail_with(error, "opening the decoder");
  decoder->pkt_timebase = stream->time_base;
  decoder->max_pixels = max_pixels;
  decoder->thread_count = 1;  // memory of one decoder; items run beside each other already
  error = avcodec_open2(decoder.get(), codec, nullptr);
  if (error < 0) fail_with(error, "opening the decoder");
  return decoder;
}

}  // namespace tutti::media_worker
