#include "media/aac_encoder.h"

#include <fmt/format.h>
#include <vo-aacenc/cmnMemory.h>
#include <vo-aacenc/voAAC.h>

#include <algorithm>
#include <array>

namespace tutti {
namespace {

constexpr size_t kFrameBytes = 2 * 1024;       // of 16-bit input
constexpr size_t kMostOutputBytes = 768 + 64;  // of one channel's frame, and its header

class AacEncoder final : public AudioEncoder {
 public:
  AacEncoder() {
    memory_.Alloc = cmnMemAlloc;
    memory_.Copy = cmnMemCopy;
    memory_.Free = cmnMemFree;
    memory_.Set = cmnMemSet;
    memory_.Check = cmnMemCheck;
  }
  ~AacEncoder() override {
    if (handle_) api_.Uninit(handle_);
  }

  Status open(int32_t sample_rate) {
    VO_CODEC_INIT_USERDATA user{};
    user.memflag = VO_IMF_USERMEMOPERATOR;
    user.memData = &memory_;
    AACENC_PARAM params{};
    params.sampleRate = sample_rate;
    // Near-transparent for speech: 2.7 bits a sample, within what a frame can hold.
    params.bitRate = std::clamp(sample_rate * 8 / 3, 16000, 128000);
    params.nChannels = 1;
    params.adtsUsed = 1;
    if (voGetAACEncAPI(&api_) != VO_ERR_NONE ||
        api_.Init(&handle_, VO_AUDIO_CodingAAC, &user) != VO_ERR_NONE ||
        api_.SetParam(handle_, VO_PID_AAC_ENCPARAM, &params) != VO_ERR_NONE) {
      return invalid_argument(fmt::format("Sound of {} Hz cannot be written as aac.", sample_rate));
    }
    return {};
  }

  Result<std::string> append(std::span<const float> samples) override {
    pending_ += pcm16(samples);
    std::string out;
    size_t at = 0;
    for (; at + kFrameBytes <= pending_.size(); at += kFrameBytes)
      TUTTI_RETURN_IF_ERROR(encode(at, out));
    pending_.erase(0, at);
    return out;
  }
  // The last frame is filled up with silence; another one brings out what the encoder still holds.
  Result<std::string> finish() override {
    pending_.resize((pending_.size() + kFrameBytes - 1) / kFrameBytes * kFrameBytes + kFrameBytes);
    return append({});
  }

 private:
  Status encode(size_t at, std::string& out) {
    VO_CODECBUFFER input{};
    input.Buffer = reinterpret_cast<VO_PBYTE>(pending_.data() + at);
    input.Length = kFrameBytes;
    std::array<unsigned char, kMostOutputBytes> bytes;
    VO_CODECBUFFER output{};
    output.Buffer = bytes.data();
    output.Length = bytes.size();
    VO_AUDIO_OUTPUTINFO info{};
    if (api_.SetInputData(handle_, &input) != VO_ERR_NONE ||
        api_.GetOutputData(handle_, &output, &info) != VO_ERR_NONE) {
      return internal_error("Encoding sound as aac failed.");
    }
    out.append(reinterpret_cast<const char*>(bytes.data()), output.Length);
    return {};
  }

  VO_AUDIO_CODECAPI api_{};
  VO_MEM_OPERATOR memory_{};
  VO_HANDLE handle_ = nullptr;
  std::string pending_;  // samples of a frame that is not whole yet
};

}  // namespace

Result<std::unique_ptr<AudioEncoder>> make_aac_encoder(int32_t sample_rate) {
  auto encoder = std::make_unique<AacEncoder>();
  TUTTI_RETURN_IF_ERROR(encoder->open(sample_rate));
  return std::unique_ptr<AudioEncoder>(std::move(encoder));
}

}  // namespace tutti
