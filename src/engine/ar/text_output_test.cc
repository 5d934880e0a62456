#include "engine/ar/text_output.h"

#include <gtest/gtest.h>

#include "engine/ar/engine_harness.h"

namespace tutti::ar {
namespace {

class TextOutputTest : public ::testing::Test {
 protected:
  void SetUp() override {
    tokenizer_ = golden_tokenizer();
    ASSERT_TRUE(tokenizer_);
  }
  // The token of these bytes.
  int32_t token(std::string_view bytes) const {
    for (int32_t id = 0; id < tokenizer_->vocab_size(); ++id) {
      if (!tokenizer_->is_special(id) && tokenizer_->token_bytes(id) == bytes) return id;
    }
    ADD_FAILURE() << "no token of " << bytes;
    return -1;
  }
  TextOutput output(std::vector<std::string> stop, bool include = false) const {
    SamplingParams params;
    params.stop = std::move(stop);
    params.include_stop_str_in_output = include;
    return TextOutput(tokenizer_, params);
  }
  // Pushes a token of each byte of `text`; how many tokens are hidden after each.
  std::vector<int64_t> push(TextOutput& output, std::string_view text) {
    std::vector<int64_t> hidden;
    for (const char byte : text) {
      output.push(token(std::string_view(&byte, 1)), ++count_, shown_);
      hidden.push_back(output.num_hidden_tokens());
    }
    return hidden;
  }

  using Counts = std::vector<int64_t>;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::string shown_;
  int64_t count_ = 0;
};

TEST_F(TextOutputTest, HidesTheTokensOfWhatMayBecomeAStopString) {
  TextOutput out = output({"end"});
  EXPECT_EQ(push(out, "a end"), (Counts{0, 0, 1, 2, 3}));
  EXPECT_EQ(shown_, "a ");
}

TEST_F(TextOutputTest, ShowsThemWhenItBecomesNone) {
  TextOutput out = output({"end"});
  EXPECT_EQ(push(out, "aenex"), (Counts{0, 1, 2, 1, 0}));
  EXPECT_EQ(shown_, "aenex");
  EXPECT_EQ(push(out, "en"), (Counts{1, 2}));
  out.finish(std::nullopt, shown_);
  EXPECT_EQ(out.num_hidden_tokens(), 0);
  EXPECT_EQ(shown_, "aenexen");
}

TEST_F(TextOutputTest, AnUnfinishedCodePointIsHiddenUntilItsTextIsKnown) {
  TextOutput out = output({"\xe2\x82\xac!"});  // a euro sign
  EXPECT_EQ(push(out, "a\xe2\x82\xac"), (Counts{0, 1, 2, 3}));
  EXPECT_EQ(push(out, "a"), (Counts{0}));
  EXPECT_EQ(push(out, "\xe2\x82\xac!"), (Counts{1, 2, 3, 4}));
  EXPECT_EQ(shown_,
            "a\xe2\x82\xac"
            "a");
}

TEST_F(TextOutputTest, HidesNothingWithoutStopStringsOrWhereTheyAreShown) {
  TextOutput none = output({});
  EXPECT_EQ(push(none, "end"), (Counts{0, 0, 0}));
  TextOutput included = output({"end"}, true);
  EXPECT_EQ(push(included, "end"), (Counts{0, 0, 0}));
}

}  // namespace
}  // namespace tutti::ar
