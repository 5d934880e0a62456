// `tutti generate` as a user runs it: the main job, every kind of bad input, and Ctrl-C.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sndfile.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "process.h"
#include "weights/lora_test_util.h"

namespace tutti::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kModel = std::string(TUTTI_TEST_DATA) + "/goldens/qwen3_omni_moe/checkpoint";

struct Wav {
  int64_t frames = -1;
  int rate = 0;
  int channels = 0;
};

Wav inspect_wav(const fs::path& path) {
  SF_INFO info = {};
  SNDFILE* file = sf_open(path.c_str(), SFM_READ, &info);
  if (file == nullptr) return {};
  sf_close(file);
  return {info.frames, info.samplerate, info.channels};
}

class Generate : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() /
           ("tutti_generate_" + std::to_string(getpid()) + "_" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  ProcessResult generate(std::vector<std::string> flags, const ProcessOptions& options = {}) {
    flags.insert(flags.begin(), {TUTTI_BINARY, "generate"});
    return run_process(flags, options);
  }

  // Bad input: the code, one sentence on stderr, nothing on stdout, no file left behind.
  void expect_error(const std::vector<std::string>& flags, int code, const std::string& part) {
    const ProcessResult result = generate(flags);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr(part));
    const size_t start = result.err.find("error: ");
    ASSERT_NE(start, std::string::npos) << result.err;
    EXPECT_EQ(result.err.find('\n', start), result.err.size() - 1) << "more than one line";
    EXPECT_TRUE(fs::is_empty(dir_));
  }

  std::string path(const std::string& name) const { return (dir_ / name).string(); }
  fs::path dir_;
};

TEST_F(Generate, AnAdapterChangesTheAnswer) {
  const TempFolder adapter;
  const auto write = [&](int64_t rank) {
    Tensor a = Tensor::zeros({rank, 256}), b = Tensor::zeros({256, rank});
    for (int64_t i = 0; i < 256; ++i) {
      a.data<float>()[i] = i % 3 == 0 ? 1.0f : -0.5f;
      b.data<float>()[i * rank] = i % 2 == 0 ? 1.0f : -1.0f;
    }
    NamedTensors tensors;
    add_module(tensors, "thinker.model.layers.0.self_attn.o_proj", a, b);
    write_adapter(adapter, peft_config(rank, 8), tensors);
  };
  write(1);
  std::vector<std::string> flags = {
      "--text", "What is the capital of Norway?", "--temperature", "0", "--max-tokens", "8",
      "--quiet"};
  const ProcessResult plain = generate(flags);
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  const std::string lora = "own=" + adapter.path().string();
  flags.insert(flags.end(), {"--lora", lora});
  const ProcessResult adapted = generate(flags);
  ASSERT_EQ(adapted.exit_code, 0) << adapted.err;
  EXPECT_NE(adapted.out, plain.out);

  flags.insert(flags.end(), {"--max-lora-rank", "4"});
  write(8);
  expect_error(flags, 2, "`max_lora_rank` is 4");
  expect_error({"--text", "Hello", "--lora", "own=" + path("none")}, 2, "is not a directory");
  expect_error({"--text", "Hello", "--lora", "own"}, 2, "'own' is not NAME=DIRECTORY");
}

TEST_F(Generate, NumbersOfFlagsAreCheckedBeforeAnythingIsLoaded) {
  const std::pair<const char*, const char*> wrong[] = {
      {"--timeout", "0"},      {"--timeout", "inf"},
      {"--timeout", "nan"},    {"--priority", "99999999999"},
      {"--seed", "-1"},        {"--temperature", "warm"},
      {"--max-tokens", "1e3"}, {"--talker-top-k", "99999999999"},
  };
  for (const auto& [flag, value] : wrong) {
    const std::string sentence =
        std::string("error: ") + flag + ": '" + value + "' is not allowed; allowed is a";
    const ProcessResult result = generate({"--text", "Hi", flag, value});
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_THAT(result.err, StartsWith(sentence));
    EXPECT_LT(result.err.size(), 120u) << result.err;
  }
}

TEST_F(Generate, HearsAndSees) {
  const std::string media = std::string(TUTTI_TEST_DATA) + "/goldens/media/";
  const std::vector<std::string> common = {"--model",       kModel, "--text",       "What is it?",
                                           "--temperature", "0",    "--max-tokens", "8",
                                           "--quiet"};
  const auto answer = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), common.begin(), common.end());
    const ProcessResult result = generate(flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  const std::string sound = media + "speech_short_16k.wav", picture = media + "photo_97x61.png";
  const std::string none = answer({});
  const std::string heard_first = answer({"--audio", sound, "--image", picture});
  const std::string seen_first = answer({"--image", picture, "--audio", sound});
  EXPECT_NE(heard_first, none);
  EXPECT_NE(heard_first, seen_first) << "the order of the flags is the order of the message";
  EXPECT_EQ(answer({"--image", picture, "--audio", sound}), seen_first);
  EXPECT_NE(answer({"--image", picture, "--image", media + "photo_211x130.jpg"}), seen_first);
}

TEST_F(Generate, SeesAndHearsAClip) {
  const std::string data = TUTTI_TEST_DATA;
  const auto answer = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"--model", kModel, "--text", "What is it?", "--temperature", "0",
                                 "--max-tokens", "8", "--quiet"});
    const ProcessResult result = generate(flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  const std::string clip = data + "/goldens/media/clip.mp4";
  const std::string seen = answer({"--video", clip});
  EXPECT_NE(seen, answer({}));
  EXPECT_EQ(seen, answer({"--video", data + "/media/silent.mp4"})) << "the same frames";
  EXPECT_NE(seen, answer({"--video", clip, "--use-audio-in-video"}));
  EXPECT_NE(answer({"--audio", data + "/media/speech.m4a"}), answer({}));
}

TEST_F(Generate, SpeaksAboutAPicture) {
  const ProcessResult result =
      generate({"--model", kModel, "--image",
                std::string(TUTTI_TEST_DATA) + "/goldens/media/photo_97x61.png", "--text",
                "Describe it.", "--audio-out", path("answer.wav"), "--max-tokens", "6",
                "--talker-max-tokens", "8", "--seed", "7"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_GT(inspect_wav(path("answer.wav")).frames, 0);
}

TEST_F(Generate, BadMedia) {
  const auto expect = [&](const std::string& flag, const std::string& value, int code,
                          const std::string& part) {
    expect_error({"--model", kModel, "--text", "Hi", flag, value}, code, part);
  };
  const std::string media = std::string(TUTTI_TEST_DATA) + "/goldens/media/";
  expect("--audio", "/nowhere/a.wav", 1, "audio 1: ");
  expect("--image", media + "speech_short_16k.wav", 2, "image 1: ");
  expect("--video", media + "speech_short_16k.wav", 2, "video 1: the file holds a WAV sound");
  expect("--video", std::string(TUTTI_TEST_DATA) + "/media/speech.m4a", 2,
         "video 1: the container has no frames");
  expect_error({"--model", kModel, "--text", "Hi", "--use-audio-in-video", "--video",
                std::string(TUTTI_TEST_DATA) + "/media/silent.mp4"},
               2, "video 1: it has no sound");
  expect("--image", "https://example.org/a.png", 2,
         "image 1: the URL's host is 'example.org'; URLs are off");
  expect("--image", "file://" + media + "photo_97x61.png", 2, "image 1: it is a file:// URL");
  expect("--image", "data:image/png;base64,!", 2, "byte 33 at place 0 is no base64");
  expect_error({"--model", kModel, "--text", "Hi", "--image", media + "photo_97x61.png", "--image",
                media + "clip_frames"},
               2, "image 2: ");
  expect_error({"--model", kModel, "--text", "Hi", "--raw", "--image", media + "photo_97x61.png"},
               2, "--raw takes no --audio, --image and --video");
}

TEST_F(Generate, MediaOfUrls) {
  const std::string media = std::string(TUTTI_TEST_DATA) + "/goldens/media";
  const auto flags = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--model", kModel, "--text", "Hi", "--temperature", "0",
                               "--max-tokens", "8", "--quiet"});
    return more;
  };
  const std::string url = "file://" + media + "/photo_97x61.png";
  const ProcessResult by_url = generate(flags({"--allowed-media-path", media, "--image", url}));
  EXPECT_EQ(by_url.exit_code, 0) << by_url.err;
  EXPECT_EQ(by_url.out, generate(flags({"--image", media + "/photo_97x61.png"})).out);
  expect_error(flags({"--allowed-media-path", media + "/clip_frames", "--image", url}), 2,
               "not below the path");
  expect_error(flags({"--allowed-media-path", media, "--image",
                      "file://" + media + "/../qwen3_omni_moe/checkpoint/config.json"}),
               2, "not below the path");
  expect_error(flags({"--allowed-media-path", "/nowhere"}), 2,
               "`allowed_media_path` is '/nowhere'");

  const auto fetched = [&](const std::string& domains, const std::string& from) {
    return flags({"--allow-media-domains", domains, "--image", from});
  };
  expect_error(fetched("example.org,example.com", "http://evil.net/a.png"), 2,
               "image 1: the URL's host is 'evil.net'; allowed are example.org, example.com");
  expect_error(fetched("http://example.org", "http://example.org/"), 2,
               "`allowed_media_domains` has 'http://example.org'");
  for (const char* host : {"127.0.0.1:1", "localhost:1", "169.254.169.254", "10.0.0.1"}) {
    expect_error(fetched("127.0.0.1,localhost,169.254.169.254,10.0.0.1",
                         std::string("http://") + host + "/a.png"),
                 2, "not in the public network");
  }
}

TEST_F(Generate, TextAndSpeech) {
  const ProcessResult result = generate(
      {"--model", kModel, "--text", "Which train crosses the bridge?", "--audio-out",
       path("answer.wav"), "--max-tokens", "12", "--talker-max-tokens", "20", "--seed", "7"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(result.out.empty());
  EXPECT_THAT(result.err, HasSubstr("12 tokens"));
  EXPECT_THAT(result.err, HasSubstr("of speech"));
  const Wav wav = inspect_wav(path("answer.wav"));
  EXPECT_EQ(wav.rate, 24000);
  EXPECT_EQ(wav.channels, 1);
  // Frames are 1920 samples; the vocoder keeps back 555 (its transposed convolutions' last step).
  EXPECT_EQ((wav.frames + 555) % 1920, 0);
  EXPECT_GT(wav.frames, 0);
}

TEST_F(Generate, SameSeedSameAnswerWithAndWithoutChunks) {
  const std::vector<std::string> flags = {
      "--model", kModel,   "--text", "Say it again.", "--max-tokens", "10", "--talker-max-tokens",
      "12",      "--seed", "3",      "--quiet",       "--audio-out"};
  auto streamed = flags;
  streamed.push_back(path("a.wav"));
  auto whole = flags;
  whole.push_back(path("b.wav"));
  whole.push_back("--no-async-chunk");
  const ProcessResult a = generate(streamed);
  const ProcessResult b = generate(whole);
  ASSERT_EQ(a.exit_code, 0) << a.err;
  ASSERT_EQ(b.exit_code, 0) << b.err;
  EXPECT_EQ(a.out, b.out);
  const auto bytes = [](const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_FALSE(bytes(path("a.wav")).empty());
  EXPECT_EQ(bytes(path("a.wav")), bytes(path("b.wav")));
}

TEST_F(Generate, TextOnlyWritesNoFile) {
  const ProcessResult result =
      generate({"--model", kModel, "--text", "Hello", "--max-tokens", "4", "--modalities", "text"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err.find("speech"), std::string::npos);
}

TEST_F(Generate, WritesATimeline) {
  const ProcessResult result = generate({"--model", kModel, "--text", "Hello", "--max-tokens", "4",
                                         "--talker-max-tokens", "6", "--modalities", "text,audio",
                                         "--priority", "-1", "--trace-out", path("trace.json")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  std::ifstream in(path("trace.json"));
  const std::string trace(std::istreambuf_iterator<char>(in), {});
  for (const char* part : {"traceEvents", "stage 0 (thinker)", "stage 2 (code2wav)", "compute",
                           "first token", "first audio"}) {
    EXPECT_THAT(trace, HasSubstr(part));
  }
}

TEST_F(Generate, TimelineInNoDirectory) {
  expect_error({"--model", kModel, "--text", "Hi", "--trace-out", "/no/such/dir/trace.json"}, 2,
               "/no/such/dir/trace.json");
}

TEST_F(Generate, GivesUpAfterTheTimeout) {
  // Some words may have been said by then.
  const ProcessResult result = generate({"--model", kModel, "--text", "Hi", "--max-tokens", "4000",
                                         "--ignore-eos", "--quiet", "--timeout", "0.001"});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  // Before it began, while it waited, or while it ran: a machine decides.
  EXPECT_THAT(result.err, ::testing::AnyOf(HasSubstr("error: The request's time "),
                                           HasSubstr("error: The request has taken longer")));
  expect_error({"--model", kModel, "--text", "Hi", "--timeout", "0"}, 2, "--timeout");
}

TEST_F(Generate, InterruptKeepsAValidWav) {
  ProcessOptions options;
  options.interrupt_after_bytes = 40;
  const ProcessResult result =
      generate({"--model", kModel, "--text", "Tell me everything.", "--audio-out", path("cut.wav"),
                "--max-tokens", "4000", "--ignore-eos", "--seed", "1"},
               options);
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_GE(result.out.size(), 40u);
  if (fs::exists(path("cut.wav"))) {
    EXPECT_GT(inspect_wav(path("cut.wav")).frames, 0);
  }
}

TEST_F(Generate, MissingDirectory) {
  expect_error({"--model", "/no/such/model", "--text", "Hi"}, 1, "/no/such/model");
}

TEST_F(Generate, NotAModelDirectory) {
  fs::create_directories(dir_.string() + "_empty");
  expect_error({"--model", dir_.string() + "_empty", "--text", "Hi"}, 1, "config.json");
  fs::remove_all(dir_.string() + "_empty");
}

TEST_F(Generate, UnknownModelTypeListsTheKnown) {
  const fs::path model = dir_.string() + "_unknown";
  fs::create_directories(model);
  std::ofstream(model / "config.json") << R"({"model_type": "gpt_17"})";
  expect_error({"--model", model.string(), "--text", "Hi"}, 1, "gpt_17");
  expect_error({"--model", model.string(), "--text", "Hi"}, 1, "qwen3_omni_moe");
  fs::remove_all(model);
}

TEST_F(Generate, UnsupportedDtype) {
  expect_error({"--model", kModel, "--text", "Hi", "--dtype", "int3"}, 2, "int3");
}

TEST_F(Generate, PromptLongerThanTheContext) {
  expect_error({"--model", kModel, "--text", "one two three four five six seven eight nine ten",
                "--max-model-len", "16"},
               2, "16");
}

TEST_F(Generate, EmptyPrompt) {
  expect_error({"--model", kModel, "--text", ""}, 2, "empty");
  expect_error({"--model", kModel, "--text", "", "--raw"}, 2, "empty");
}

TEST_F(Generate, UnknownVoiceListsTheKnown) {
  const std::vector<std::string> flags = {"--model", kModel, "--text",      "Hi",
                                          "--voice", "Ana",  "--audio-out", path("a.wav")};
  expect_error(flags, 2, "Ana");
  for (const char* known : {"helsie", "than", "iden"}) expect_error(flags, 2, known);
}

TEST_F(Generate, SamplingValuesOutOfRange) {
  expect_error({"--model", kModel, "--text", "Hi", "--temperature", "-1"}, 2, "temperature");
  expect_error({"--model", kModel, "--text", "Hi", "--top-p", "1.5"}, 2, "top_p");
  expect_error({"--model", kModel, "--text", "Hi", "--min-p", "2"}, 2, "min_p");
  expect_error({"--model", kModel, "--text", "Hi", "--max-tokens", "0"}, 2, "max_tokens");
  expect_error({"--model", kModel, "--text", "Hi", "--repetition-penalty", "0"}, 2,
               "repetition_penalty");
}

TEST_F(Generate, UnwritableOutput) {
  expect_error({"--model", kModel, "--text", "Hi", "--audio-out", "/no/such/place/a.wav"}, 1,
               "/no/such/place");
  expect_error({"--model", kModel, "--text", "Hi", "--audio-out", "/"}, 1, "directory");
}

TEST_F(Generate, UnknownFlagNamesTheNearest) {
  expect_error({"--modle", kModel, "--text", "Hi"}, 2, "did you mean '--model'?");
  const ProcessResult command = run_process({TUTTI_BINARY, "generat"});
  EXPECT_EQ(command.exit_code, 2);
  EXPECT_THAT(command.err, HasSubstr("did you mean 'generate'?"));
}

TEST_F(Generate, UnknownInstructionSet) {
  setenv("TUTTI_CPU_ISA", "mmx", 1);
  expect_error({"--model", kModel, "--text", "Hi"}, 2, "mmx");
  unsetenv("TUTTI_CPU_ISA");
}

TEST_F(Generate, MissingFlagAndHelp) {
  expect_error({"--model", kModel}, 2, "--text");
  const ProcessResult help = run_process({TUTTI_BINARY, "generate", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("--audio-out"));
  const ProcessResult version = run_process({TUTTI_BINARY, "--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, StartsWith("tutti "));
}

}  // namespace
}  // namespace tutti::testing
