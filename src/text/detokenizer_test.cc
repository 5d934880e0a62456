#include "text/detokenizer.h"

#include <random>

#include "text/test_util.h"

namespace tutti::text {
namespace {

// Expected texts are Python's bytes.decode("utf-8", "replace").
TEST(Utf8Repair, ReplacesEachMaximalInvalidPart) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"abc", "abc"},
      {"\xFF", "\uFFFD"},
      {"\xC3", "\uFFFD"},
      {"\xC3(", "\uFFFD("},
      {"\xE2\x82", "\uFFFD"},
      {"\xE2\x82\x61", "\uFFFDa"},
      {"\xE2\x28\xA1", "\uFFFD(\uFFFD"},
      {"\xF0\x9F\x98", "\uFFFD"},
      {"\xF0\x9F\x98\x80", "\U0001F600"},
      {"\xF0\x9F\xF0\x9F\x98\x80", "\uFFFD\U0001F600"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xC0\xAF", "\uFFFD\uFFFD"},
      {"\xE0\x80\xAF", "\uFFFD\uFFFD\uFFFD"},
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xF5\x80", "\uFFFD\uFFFD"},
      {"\x80\xC3\xA9\xBF", "\uFFFD\u00E9\uFFFD"},
  };
  for (const auto& [bytes, expected] : rows) {
    Utf8Repair repair;
    std::string text;
    repair.push(bytes, text);
    repair.flush(text);
    EXPECT_EQ(text, expected);
  }
}

class Detokenizer : public testing::TestWithParam<bool> {};

TEST_P(Detokenizer, PiecesTogetherEqualTheWholeText) {
  auto tokenizer = Tokenizer::load(golden_dir() / "qwen3_omni_moe" / "checkpoint");
  ASSERT_TRUE(tokenizer.ok());
  const bool skip_special = GetParam();
  IncrementalDetokenizer detokenizer(*tokenizer, skip_special);
  std::mt19937 random(11);
  for (int round = 0; round < 400; ++round) {
    std::vector<int32_t> ids;
    // Single-byte tokens make invalid sequences; the others valid text and control tokens.
    const int32_t limit = round % 2 == 0 ? 256 : (*tokenizer)->vocab_size() + 20;
    for (int i = 0; i < 60; ++i)
      ids.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(limit)));
    std::string text;
    for (const int32_t id : ids) {
      const std::string_view piece = detokenizer.push(id);
      // Every piece is valid on its own.
      std::string repaired;
      Utf8Repair repair;
      repair.push(piece, repaired);
      EXPECT_FALSE(repair.pending());
      EXPECT_EQ(repaired, piece);
      text += piece;
    }
    text += detokenizer.flush();
    EXPECT_EQ(text, (*tokenizer)->decode(ids, skip_special));
  }
}
INSTANTIATE_TEST_SUITE_P(SkipSpecial, Detokenizer, testing::Bool());

TEST(DetokenizerPieces, HoldsBackUnfinishedCodePoints) {
  auto tokenizer = Tokenizer::load(golden_dir() / "qwen3_omni_moe" / "checkpoint");
  ASSERT_TRUE(tokenizer.ok());
  IncrementalDetokenizer detokenizer(*tokenizer);
  const auto byte_token = [&](char byte) {
    return *(*tokenizer)->token_to_id(letters_of_bytes({&byte, 1}));
  };
  EXPECT_EQ(detokenizer.push(byte_token('\xF0')), "");
  EXPECT_EQ(detokenizer.push(byte_token('\x9F')), "");
  EXPECT_TRUE(detokenizer.pending());
  EXPECT_EQ(detokenizer.push(byte_token('\x98')), "");
  EXPECT_EQ(detokenizer.push(byte_token('\x80')), "\U0001F600");
  EXPECT_EQ(detokenizer.push(byte_token('\xE2')), "");
  EXPECT_EQ(detokenizer.push(byte_token('a')), "\uFFFDa");
  EXPECT_EQ(detokenizer.push(byte_token('\xE2')), "");
  EXPECT_EQ(detokenizer.flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST(DetokenizerPieces, SkipsSpecialTokensOnRequest) {
  auto tokenizer = Tokenizer::load(golden_dir() / "qwen3_omni_moe" / "checkpoint");
  ASSERT_TRUE(tokenizer.ok());
  IncrementalDetokenizer skipping(*tokenizer);
  EXPECT_EQ(skipping.push(*(*tokenizer)->eos_id()), "");
  IncrementalDetokenizer showing(*tokenizer, false);
  EXPECT_EQ(showing.push(*(*tokenizer)->eos_id()), "<|im_end|>");
}

}  // namespace
}  // namespace tutti::text
