// `tutti config` as a user runs it, and the examples of docs/deploy.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "process.h"

namespace tutti::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string without_comments(const std::string& text) {
  return std::regex_replace(text, std::regex(" *#[^\n]*"), "");
}

class Config : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("tutti_config_test_" + std::to_string(getpid()));
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  static ProcessResult run(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {TUTTI_BINARY, "config", "nano"});
    return run_process(flags);
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ / name) << text;
    return (dir_ / name).string();
  }
  fs::path dir_;
};

TEST_F(Config, PrintsEveryOrigin) {
  const std::string file = write("deploy.yaml", "stages:\n  - stage_id: 0\n    max_num_seqs: 3\n");
  const ProcessResult result =
      run({"--deploy-config", file, "--block-size", "16", "--stage-overrides",
           R"({"1": {"max_num_seqs": 2}})", "--stage-overrides", "code2wav.max_num_seqs=5"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ::testing::ContainsRegex("max_num_seqs: 3 +# .*deploy.yaml:3\n"));
  EXPECT_THAT(result.out, ::testing::ContainsRegex("max_num_seqs: 2 +# --stage-overrides\n"));
  EXPECT_THAT(result.out, ::testing::ContainsRegex("max_num_seqs: 5 +# --stage-overrides\n"));
  EXPECT_THAT(result.out, ::testing::ContainsRegex("block_size: 16 +# --block-size\n"));
  EXPECT_THAT(result.out, ::testing::ContainsRegex("max_tokens: 256 +# generation_config.json\n"));
  EXPECT_THAT(result.out, ::testing::ContainsRegex("max_retries: 1 +# default\n"));
  EXPECT_THAT(result.out, ::testing::ContainsRegex("#   cpu +sum +[0-9.]+ [KMG]B  available"));
}

TEST_F(Config, IsItsOwnDeployFile) {
  const ProcessResult first = run({"--max-num-seqs", "7", "--max-audio", "1.5"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const ProcessResult second = run({"--deploy-config", write("again.yaml", first.out)});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(without_comments(second.out), without_comments(first.out));
  EXPECT_THAT(second.out, ::testing::ContainsRegex("max_num_seqs: 7 +# .*again.yaml:[0-9]+\n"));
}

// API.md, Construction: unknown option, unknown YAML key: an error that names the nearest one.
TEST_F(Config, UnknownKeysAndFlagsNameTheNearest) {
  ProcessResult result =
      run({"--deploy-config", write("bad.yaml", "stages: [{stage_id: 0, max_num_seq: 1}]\n")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("bad.yaml:1:24: `stages[0].max_num_seq` is not a known key; "
                                    "did you mean `max_num_seqs`?"));
  result = run({"--max-num-seq", "4"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("did you mean '--max-num-seqs'?"));
  result = run({"--max-num-seqs", "0"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("`max_num_seqs` is 0; allowed is an integer from 1"));
  result = run({"--stage-overrides", "0.max_num_seq=4"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("did you mean `max_num_seqs`?"));
}

// API.md, Construction: stages that do not fit are an error before loading, with the sum per
// device.
TEST_F(Config, TooLittleMemoryIsAnErrorBeforeLoading) {
  const ProcessResult config = run({"--device-memory", "1000000"});
  EXPECT_EQ(config.exit_code, 1);
  EXPECT_THAT(config.out, HasSubstr("device_memory_bytes: 1000000"));
  EXPECT_THAT(config.err, HasSubstr("error: The stages do not fit the memory: cpu needs "));
  const ProcessResult generate =
      run_process({TUTTI_BINARY, "generate", "--text", "Hi", "--device-memory", "1000000"});
  EXPECT_EQ(generate.exit_code, 1);
  EXPECT_EQ(generate.out, "");
  for (const char* part :
       {"thinker", "talker", "code2wav", "weights", "KV cache", "scratch", "available 1.0 MB"}) {
    EXPECT_THAT(generate.err, HasSubstr(part));
  }
}

TEST_F(Config, GenerateRunsWithADeployFile) {
  const std::string file =
      write("deploy.yaml",
            "stages:\n  - stage_id: 0\n    num_replicas: 2\n    max_num_seqs: 2\n"
            "    default_sampling_params: {max_tokens: 3}\n");
  const ProcessResult result =
      run_process({TUTTI_BINARY, "generate", "--text", "Hi", "--deploy-config", file});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("3 tokens"));
}

// What the schema cannot judge is checked as well, and the error says the file and the line.
TEST_F(Config, WrongValuesOfAFileAreErrorsAtTheirLine) {
  const std::pair<std::string, std::string> wrong[] = {
      {"max_retries: 1\nallowed_media_path: /nonexistent\n",
       "deploy.yaml:2: `allowed_media_path` is '/nonexistent'"},
      {"allowed_media_domains: ['http://a.org']\n", "deploy.yaml:1: `allowed_media_domains` has"},
      {"otlp_endpoint: https://a.org\n", "deploy.yaml:1: `otlp_endpoint` is 'https://a.org'"},
      {"trace_out: /nonexistent/trace.json\n", "deploy.yaml:1: `trace_out` is '/nonexistent/"},
      {"stages:\n  - stage_id: 0\n    default_sampling_params:\n      max_tokens: 3\n"
       "      min_tokens: 4\n",
       "deploy.yaml:5: Default sampling parameters of stage 0 (thinker): `min_tokens` is 4"},
  };
  for (const auto& [text, sentence] : wrong) {
    const std::string file = write("deploy.yaml", text);
    for (const char* command : {"config", "generate"}) {
      std::vector<std::string> words = {TUTTI_BINARY, command, "--deploy-config", file};
      if (words[1] == "generate") words.insert(words.end(), {"--text", "Hi"});
      const ProcessResult result = run_process(words);
      EXPECT_EQ(result.exit_code, 1) << command << ": " << result.err;
      EXPECT_THAT(result.err, HasSubstr(sentence)) << command;
      EXPECT_EQ(result.out, "") << command;
    }
  }
}

TEST_F(Config, AFileThatIsNoneIsRefused) {
  ProcessResult result = run({"--deploy-config", "/dev/zero"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("'/dev/zero' is no regular file"));
  result = run({"--deploy-config", write("large.yaml", std::string((1 << 20) + 1, '#'))});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("has 1048577 bytes; allowed are up to 1048576"));
}

TEST_F(Config, SentencesSayWhatWasFoundAndWhatIsAllowed) {
  const auto expect = [&](const std::vector<std::string>& flags, const char* sentence) {
    const ProcessResult result = run(flags);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(sentence));
  };
  expect({"--max-num-seqs", "0"}, "error: --max-num-seqs: `max_num_seqs` is 0; allowed is");
  expect({"--stage-overrides", "0.stage_id=1"}, "`0.stage_id` cannot be set");
  expect({"--stage-overrides", "0.engine_args.stage_id=1"}, "stage_id` cannot be set");
  expect({"--stage-overrides", "0.default_sampling_params.logit_bias={a: 1}"},
         "logit_bias` has a: 1; allowed is a mapping of token ids");
  expect({"--stage-overrides", "0.default_sampling_params.stop_token_ids=[1, x]"},
         "stop_token_ids` has x; allowed is a list of integers");
}

TEST_F(Config, TheTokenizerMayBeAnothers) {
  const std::string nano = TUTTI_SOURCE_DIR "/models/nano";
  const std::string empty = (dir_ / "empty").string();
  fs::create_directories(empty);
  const auto say = [&](const std::string& tokenizer) {
    return run_process({TUTTI_BINARY, "generate", "--text", "Hi", "--max-tokens", "2", "--quiet",
                        "--deploy-config", write("deploy.yaml", "tokenizer: " + tokenizer + "\n")});
  };
  const ProcessResult own = say(nano);
  EXPECT_EQ(own.exit_code, 0) << own.err;
  const ProcessResult none = say(empty);
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("has no tokenizer"));
  EXPECT_THAT(say("/nonexistent").err, HasSubstr("deploy.yaml:1: `tokenizer` is '/nonexistent'"));
}

// They were printed and dropped.
TEST_F(Config, MediaMayComeFromWhereTheFileSays) {
  const std::string media = TUTTI_TEST_DATA "/goldens/media";
  const auto see = [&](const std::string& file) {
    return run_process({TUTTI_BINARY, "generate", "--model",
                        TUTTI_TEST_DATA "/goldens/qwen3_omni_moe/checkpoint", "--text", "Hi",
                        "--max-tokens", "2", "--quiet", "--deploy-config", file, "--image",
                        "file://" + media + "/photo_97x61.png"});
  };
  const ProcessResult allowed = see(write("allows.yaml", "allowed_media_path: " + media + "\n"));
  EXPECT_EQ(allowed.exit_code, 0) << allowed.err;
  const ProcessResult refused = see(write("refuses.yaml", "max_retries: 1\n"));
  EXPECT_EQ(refused.exit_code, 2);
  const ProcessResult hosts =
      run_process({TUTTI_BINARY, "generate", "--text", "Hi", "--deploy-config",
                   write("hosts.yaml", "allowed_media_domains: [example.org]\n"), "--image",
                   "http://evil.net/a.png"});
  EXPECT_THAT(hosts.err, HasSubstr("the URL's host is 'evil.net'; allowed are example.org"));
}

TEST_F(Config, TheExamplesOfTheDocumentationRun) {
  std::ifstream in(fs::path(TUTTI_SOURCE_DIR) / "docs/deploy.md");
  std::stringstream text;
  text << in.rdbuf();
  const std::string doc = text.str();
  const std::regex block("```yaml\n# ([a-z]+\\.yaml)\n([^`]*)```");
  std::vector<std::string> files;
  for (std::sregex_iterator it(doc.begin(), doc.end(), block), end; it != end; ++it) {
    files.push_back(write((*it)[1], (*it)[2]));
  }
  ASSERT_EQ(files.size(), 2u);
  for (const std::string& file : files) {
    const ProcessResult result = run({"--deploy-config", file});
    EXPECT_EQ(result.exit_code, 0) << file << ": " << result.err;
    EXPECT_THAT(result.out, ::testing::ContainsRegex("max_audio_s: 60 +# .*small.yaml:"));
  }
}

}  // namespace
}  // namespace tutti::testing
