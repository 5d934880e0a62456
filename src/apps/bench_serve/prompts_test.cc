#include "apps/bench_serve/prompts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "apps/bench_serve/request_body.h"

namespace tutti::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Prompts : public ::testing::Test {
 protected:
  Prompts() { std::ofstream(folder_ / "sound.wav") << "RIFF"; }
  ~Prompts() override { std::filesystem::remove_all(folder_); }

  Result<std::vector<LoadPrompt>> read(const std::string& lines, Backend backend) const {
    std::ofstream(folder_ / "prompts.jsonl") << lines;
    return read_prompts((folder_ / "prompts.jsonl").string(), backend);
  }
  std::string error(const std::string& lines, Backend backend = Backend::kChat) const {
    const auto prompts = read(lines, backend);
    return prompts.ok() ? "" : prompts.error().message();
  }

  static std::filesystem::path make_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "tutti-prompts-XXXXXX").string();
    return mkdtemp(name.data());
  }
  const std::filesystem::path folder_ = make_folder();
};

TEST_F(Prompts, ReadsLines) {
  const auto prompts = read(
      "{\"prompt\":\"a\",\"output_tokens\":7}\r\n  \n"
      "{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}]}\n{\"audio\":\"sound.wav\"}",
      Backend::kChat);
  ASSERT_TRUE(prompts.ok()) << prompts.error().message();
  ASSERT_EQ(prompts->size(), 3u);
  LoadOptions options;
  options.model = "m";
  options.output_len = 9;
  options.extra_body = {{"top_p", 0.5}, {"stream", false}};
  const std::string first = request_body(options, (*prompts)[0]);
  EXPECT_THAT(first, HasSubstr(R"("content":"a")"));
  EXPECT_THAT(first, HasSubstr(R"("max_completion_tokens":7)"));
  EXPECT_THAT(first, HasSubstr(R"("top_p":5E-1)"));
  EXPECT_THAT(first, HasSubstr(R"("stream":false)"));
  EXPECT_THAT(request_body(options, (*prompts)[1]), HasSubstr(R"("max_completion_tokens":9)"));
  const std::string third = request_body(options, (*prompts)[2]);
  EXPECT_THAT(third, HasSubstr(R"("input_audio":{"data":"UklGRg==","format":"wav"})"));
  EXPECT_THAT(third, Not(HasSubstr(R"("text")")));
}

TEST_F(Prompts, ErrorsNameTheLine) {
  EXPECT_THAT(error("{\"prompt\":\"a\"}\n\n[]\n"), HasSubstr("Line 3 of"));
  EXPECT_THAT(error("{\"prmpt\":\"a\"}"), HasSubstr("did you mean `prompt`?"));
  EXPECT_THAT(error("{\"output_tokens\":3}"), HasSubstr("neither `prompt` nor `messages`"));
  EXPECT_THAT(error("{\"prompt\":\"a\",\"output_tokens\":0}"), HasSubstr("from 1 on"));
  EXPECT_THAT(error("{\"prompt\":1}"), HasSubstr("must be a string"));
  EXPECT_THAT(error("{\"messages\":[]}", Backend::kSpeech),
              HasSubstr("only the backends for chat"));
  EXPECT_THAT(error("{\"audio\":\"sound.wav\"}", Backend::kCompletions), HasSubstr("realtime"));
  EXPECT_THAT(error("{\"audio\":\"none.wav\"}"), HasSubstr("cannot be read"));
  EXPECT_THAT(error("\n"), HasSubstr("has no prompts"));
}

TEST_F(Prompts, BuiltInOnesDiffer) {
  for (const BackendInfo& info : kBackends) {
    std::set<std::string> texts;
    for (const LoadPrompt& prompt : builtin_prompts(info.backend)) texts.insert(prompt.text);
    EXPECT_EQ(texts.size(), 72u);
  }
}

}  // namespace
}  // namespace tutti::bench
