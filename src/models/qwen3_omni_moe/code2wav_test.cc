#include "models/qwen3_omni_moe/code2wav.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/executor.h"
#include "weights/weight_loader.h"

namespace tutti::qwen3_omni_moe {
namespace {

const std::filesystem::path kGoldens =
    std::filesystem::path(TUTTI_TEST_DATA) / "goldens/qwen3_omni_moe";

StageInput input(StagePayload payload, bool last) {
  StageInput out;
  out.payload = std::move(payload);
  out.last = last;
  return out;
}

class Code2WavTest : public ::testing::Test {
 protected:
  void SetUp() override {
    executor_ = DeviceExecutor::create_cpu(2);
    auto config = read_config(kGoldens / "checkpoint");
    ASSERT_TRUE(config.ok()) << config.error().message();
    config_ = config->code2wav;
    load(std::nullopt);
    auto file = SafetensorsFile::open(kGoldens / "code2wav/case.safetensors");
    ASSERT_TRUE(file.ok()) << file.error().message();
    golden_ = *file;
    const Tensor codes = tensor("codes");  // [G, F]
    groups_ = codes.dim(0);
    frames_ = codes.dim(1);
    for (int64_t f = 0; f < frames_; ++f) {
      for (int64_t g = 0; g < groups_; ++g) {
        codes_.push_back(static_cast<int32_t>(codes.data<int64_t>()[g * frames_ + f]));
      }
    }
  }

  void load(std::optional<DType> dtype) {
    auto checkpoint = Checkpoint::open(kGoldens / "checkpoint");
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message();
    auto loader = make_checkpoint_loader(*checkpoint, {.dtype = dtype, .prefixes = {"code2wav."}});
    Code2WavNetwork network = load_code2wav_network(*loader, config_);
    const Status status = loader->finish();
    ASSERT_TRUE(status.ok()) << status.message();
    model_ = std::make_unique<Code2Wav>(config_, std::move(network));
  }

  Tensor tensor(const std::string& name) {
    return golden_->tensor(golden_->entries().find(name)->second);
  }

  StagePayload frames(int64_t begin, int64_t end) const {
    StagePayload payload;
    payload.tensors["codes"] = Tensor::from_vector(
        std::vector<int32_t>(codes_.begin() + begin * groups_, codes_.begin() + end * groups_),
        {end - begin, groups_});
    return payload;
  }

  std::unique_ptr<GenerationSequence> start(int64_t begin, int64_t end) {
    auto sequence = model_->start(input(frames(begin, end), true));
    EXPECT_TRUE(sequence.ok());
    return std::move(*sequence);
  }

  void step(std::span<GenerationModel::Work> work) {
    executor_->run({}, [&](OpContext& ctx) { model_->run(ctx, work); });
  }

  // All frames of a sequence in steps of `chunk` frames.
  std::vector<float> stream(int64_t chunk) {
    auto sequence = start(0, frames_);
    std::vector<float> samples;
    while (model_->pending_frames(*sequence) > 0) {
      GenerationModel::Work work{
          sequence.get(), std::min(chunk, model_->pending_frames(*sequence)), {}};
      step({&work, 1});
      samples.insert(samples.end(), work.output.samples.begin(), work.output.samples.end());
    }
    return samples;
  }

  std::unique_ptr<DeviceExecutor> executor_;
  Code2WavConfig config_;
  std::unique_ptr<Code2Wav> model_;
  std::shared_ptr<const SafetensorsFile> golden_;
  std::vector<int32_t> codes_;  // [frames, groups]
  int64_t groups_ = 0;
  int64_t frames_ = 0;
};

TEST_F(Code2WavTest, OneShotEqualsReference) {
  const std::vector<float> samples = stream(frames_);
  const Tensor expected = tensor("wave.one_shot");
  ASSERT_EQ(static_cast<int64_t>(samples.size()), expected.num_elements());
  float worst = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    worst = std::max(worst, std::abs(samples[i] - expected.data<float>()[i]));
  }
  EXPECT_LT(worst, 1e-4f);
}

TEST_F(Code2WavTest, StreamedEqualsOneShotBitByBit) {
  for (const std::optional<DType> dtype : {std::optional<DType>(), std::optional(DType::kBF16)}) {
    load(dtype);
    const std::vector<float> whole = stream(frames_);
    for (int64_t chunk : {1, 3, 25}) EXPECT_EQ(stream(chunk), whole) << "chunks of " << chunk;
  }
}

TEST_F(Code2WavTest, FirstFrameIsShorter) {
  auto sequence = start(0, 2);
  GenerationModel::Work work{sequence.get(), 1, {}};
  step({&work, 1});
  EXPECT_EQ(work.output.samples.size(), 1365u);
  EXPECT_EQ(work.output.sample_rate, 24000);
  step({&work, 1});
  EXPECT_EQ(work.output.samples.size(), 1920u);
}

TEST_F(Code2WavTest, BatchNeighboursDoNotMatter) {
  const std::vector<float> alone = stream(frames_);
  auto a = start(0, frames_);
  auto b = start(5, 20);
  std::vector<float> samples;
  for (int i = 0; model_->pending_frames(*a) > 0; ++i) {
    std::vector<GenerationModel::Work> work;
    if (model_->pending_frames(*b) > 0) work.push_back({b.get(), 1, {}});
    work.push_back({a.get(), std::min<int64_t>(1 + i % 4, model_->pending_frames(*a)), {}});
    step(work);
    const auto& out = work.back().output.samples;
    samples.insert(samples.end(), out.begin(), out.end());
  }
  EXPECT_EQ(samples, alone);
}

TEST_F(Code2WavTest, ManySequencesRunInSeveralPasses) {
  const std::vector<float> alone = stream(frames_);
  std::vector<std::unique_ptr<GenerationSequence>> sequences;
  std::vector<GenerationModel::Work> work;
  for (int i = 0; i < 5; ++i) {
    sequences.push_back(start(0, frames_));
    work.push_back({sequences.back().get(), frames_, {}});
  }
  step(work);
  for (const auto& w : work) EXPECT_EQ(w.output.samples, alone);
}

TEST_F(Code2WavTest, RefusesCodesOutsideTheCodebook) {
  StagePayload payload = frames(0, 1);
  payload.tensors["codes"].data<int32_t>()[0] = static_cast<int32_t>(config_.codebook_size);
  EXPECT_FALSE(model_->start(input(payload, true)).ok());
  payload.tensors["codes"] = Tensor::zeros({1, groups_ + 1}, DType::kI32);
  EXPECT_FALSE(model_->start(input(payload, true)).ok());
}

TEST_F(Code2WavTest, CountsPendingFrames) {
  auto sequence = model_->start(input(frames(0, 2), false));
  ASSERT_TRUE(sequence.ok());
  EXPECT_EQ(model_->pending_frames(**sequence), 2);
  EXPECT_FALSE(model_->input_complete(**sequence));
  ASSERT_TRUE(model_->append(**sequence, frames(2, 5), true).ok());
  EXPECT_EQ(model_->pending_frames(**sequence), 5);
  EXPECT_TRUE(model_->input_complete(**sequence));
}

}  // namespace
}  // namespace tutti::qwen3_omni_moe
