// `tutti chat` over piped lines: answers, files, history, commands, bad input and Ctrl-C.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sndfile.h>
#include <unistd.h>

#include <filesystem>

#include "process.h"

namespace tutti::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kNano = std::string(TUTTI_TEST_DATA) + "/nano/checkpoint";
const std::string kMedia = std::string(TUTTI_TEST_DATA) + "/nano/media/";

int64_t wav_frames(const fs::path& path) {
  SF_INFO info = {};
  SNDFILE* file = sf_open(path.c_str(), SFM_READ, &info);
  if (file == nullptr) return -1;
  sf_close(file);
  return info.frames;
}

class Chat : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() /
           ("tutti_chat_" + std::to_string(getpid()) + "_" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  ProcessResult chat(const std::string& lines, std::vector<std::string> flags = {},
                     ProcessOptions options = {}) {
    flags.insert(flags.begin(), {TUTTI_BINARY, "chat", "--model", kNano, "--out-dir", out_dir()});
    options.input = lines;
    return run_process(flags, options);
  }

  std::string out_dir() const { return (dir_ / "answers").string(); }
  fs::path file(const std::string& name) const { return fs::path(out_dir()) / name; }
  fs::path dir_;
};

TEST_F(Chat, AnswersEveryLineInTextAndSpeech) {
  const ProcessResult result = chat("Hello!\nWhat is seven plus five?");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "Hello! How can I help you today?\nSeven plus five is twelve.\n");
  EXPECT_GT(wav_frames(file("answer-001.wav")), 12000);
  EXPECT_GT(wav_frames(file("answer-002.wav")), 12000);
  EXPECT_FALSE(fs::exists(file("answer-003.wav")));
}

TEST_F(Chat, KeepsFilesOfEarlierChats) {
  EXPECT_EQ(chat("Hello!\n", {"--quiet"}).err, "");
  const int64_t first = wav_frames(file("answer-001.wav"));
  EXPECT_EQ(chat("What is seven plus five?\n").exit_code, 0);
  EXPECT_EQ(wav_frames(file("answer-001.wav")), first);
  EXPECT_GT(wav_frames(file("answer-002.wav")), 0);
}

TEST_F(Chat, RemembersUntilReset) {
  const std::string ask = "What is the capital of Japan?\n", follow = "And of Peru?\n";
  const ProcessResult kept = chat(ask + follow, {"--no-speech"});
  EXPECT_THAT(kept.out, HasSubstr("Lima"));
  EXPECT_FALSE(fs::exists(out_dir()));
  const ProcessResult reset = chat(ask + "/reset\n" + follow, {"--no-speech"});
  EXPECT_THAT(reset.out, Not(HasSubstr("Lima")));
}

TEST_F(Chat, HearsAndSeesWhatIsAttached) {
  const ProcessResult result = chat("/audio " + kMedia + "ask_legs.wav\n\n/reset\n" + "/image " +
                                        kMedia + "one.png\nWhat do you see?\n",
                                    {"--no-speech", "--quiet"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, HasSubstr("eight legs"));
  EXPECT_THAT(result.out, HasSubstr("a red circle"));
}

TEST_F(Chat, GoesOnAfterAnError) {
  const ProcessResult result =
      chat("/image /nowhere.png\nWhat do you see?\nHello!\n", {"--no-speech", "--quiet"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("/nowhere.png"));
  EXPECT_EQ(result.out, "Hello! How can I help you today?\n");
}

TEST_F(Chat, Commands) {
  const ProcessResult unknown = chat("/qiut\n/image\n/help\n", {"--no-speech"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean '/quit'?"));
  EXPECT_THAT(unknown.err, HasSubstr("a path must follow"));
  EXPECT_THAT(unknown.err, HasSubstr("forget the conversation"));
  const ProcessResult quit = chat("/quit\nHello!\n", {"--no-speech"});
  EXPECT_EQ(quit.exit_code, 0);
  EXPECT_THAT(quit.out, IsEmpty());
  EXPECT_EQ(chat("").exit_code, 0);
}

TEST_F(Chat, InterruptStopsTheAnswerAndNotTheChat) {
  ProcessOptions options;
  options.interrupt_after_bytes = 20;
  const ProcessResult result =
      chat("Say: The small boat crossed the cold lake.\n/reset\n",
           {"--no-speech", "--max-tokens", "3000", "--ignore-eos"}, options);
  EXPECT_THAT(result.err, HasSubstr("stopped")) << result.out;
  EXPECT_THAT(result.err, HasSubstr("the conversation starts anew"));
  EXPECT_EQ(result.exit_code, 0);
}

TEST_F(Chat, BadFlags) {
  EXPECT_EQ(chat("Hello!\n", {"--temperature", "-1"}).exit_code, 2);
  const ProcessResult voice = chat("Hello!\n", {"--voice", "Ana"});
  EXPECT_EQ(voice.exit_code, 1);
  EXPECT_THAT(voice.err, HasSubstr("Hugo"));
  const ProcessResult place = run_process(
      {TUTTI_BINARY, "chat", "--model", kNano, "--out-dir", "/proc/nowhere"}, {.input = ""});
  EXPECT_EQ(place.exit_code, 1);
  EXPECT_THAT(place.err, HasSubstr("--out-dir"));
}

}  // namespace
}  // namespace tutti::testing
