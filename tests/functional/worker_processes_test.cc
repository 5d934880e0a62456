// `tutti generate --worker-processes`: the same answer, and nothing is left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "process.h"

namespace tutti::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Workers of this build whose parent is gone.
std::vector<std::string> orphans() {
  const fs::path program = fs::path(TUTTI_BINARY).parent_path() / "tutti-worker";
  const std::string flag = "--parent=";
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    if (fs::read_symlink(entry.path() / "exe", error) != program) continue;
    const std::string arguments = contents(entry.path() / "cmdline");
    const size_t at = arguments.find(flag);
    if (at == std::string::npos) continue;
    const pid_t parent = std::atoi(arguments.c_str() + at + flag.size());
    if (kill(parent, 0) != 0) found.push_back(entry.path().filename());
  }
  return found;
}

// The kernel kills them beside us: soon, not at once.
void expect_no_orphans() {
  for (int i = 0; i < 1000 && !orphans().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_THAT(orphans(), ::testing::IsEmpty());
}

class WorkerProcesses : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("tutti_workers_" + std::to_string(getpid()));
    fs::create_directories(dir_);
  }
  void TearDown() override {
    fs::remove_all(dir_);
    expect_no_orphans();
  }
  static ProcessResult generate(std::vector<std::string> flags,
                                const ProcessOptions& options = {}) {
    flags.insert(flags.begin(), {TUTTI_BINARY, "generate"});
    return run_process(flags, options);
  }
  fs::path dir_;
};

TEST_F(WorkerProcesses, TheAnswerIsBitForBitThatOfThreads) {
  const auto answer = [&](const std::string& wav, const std::vector<std::string>& more) {
    std::vector<std::string> flags = {"--text",
                                      "Tell me about a river.",
                                      "--seed",
                                      "11",
                                      "--max-tokens",
                                      "24",
                                      "--quiet",
                                      "--audio-out",
                                      wav};
    flags.insert(flags.end(), more.begin(), more.end());
    const ProcessResult result = generate(flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
  };
  const std::string threads = dir_ / "threads.wav", workers = dir_ / "workers.wav";
  const std::string text = answer(threads, {});
  EXPECT_GT(text.size(), 5u);
  EXPECT_EQ(answer(workers, {"--worker-processes"}), text);
  EXPECT_GT(fs::file_size(threads), 10'000u);
  EXPECT_TRUE(contents(threads) == contents(workers)) << "the sound differs";
}

TEST_F(WorkerProcesses, CtrlCLeavesNoProcess) {
  ProcessOptions options;
  options.interrupt_after_bytes = 1;
  const ProcessResult result =
      generate({"--text", "Tell me a very long story.", "--ignore-eos", "--max-tokens", "1500",
                "--quiet", "--worker-processes", "--audio-out", dir_ / "story.wav"},
               options);
  EXPECT_EQ(result.exit_code, 130) << result.err;
  expect_no_orphans();
}

TEST_F(WorkerProcesses, AMissingProgramIsSaid) {
  setenv("TUTTI_WORKER", "/nowhere/at/all", 1);
  const ProcessResult result = generate({"--text", "Hi", "--worker-processes", "--quiet"});
  unsetenv("TUTTI_WORKER");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("/nowhere/at/all"));
  EXPECT_THAT(result.err, HasSubstr("TUTTI_WORKER"));
}

TEST_F(WorkerProcesses, AModelThatCannotBeLoadedIsSaidOnce) {
  const ProcessResult result =
      generate({"--text", "Hi", "--model", dir_, "--worker-processes", "--quiet"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("error: "));
}

}  // namespace
}  // namespace tutti::testing
