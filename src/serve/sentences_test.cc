#include "serve/sentences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Sentences, EndAtTheirMarksBeforeSpace) {
  EXPECT_THAT(sentences("Good morning. How are you?  I am fine!", 100),
              ElementsAre("Good morning.", "How are you?", "I am fine!"));
  EXPECT_THAT(sentences("It costs 10.5 at tutti.org. Yes", 100),
              ElementsAre("It costs 10.5 at tutti.org.", "Yes"));
  EXPECT_THAT(sentences("你好。再见！", 100), ElementsAre("你好。", "再见！"));
  EXPECT_THAT(sentences("a line\nanother", 100), ElementsAre("a line", "another"));
}

TEST(Sentences, SpaceAloneIsNone) {
  EXPECT_THAT(sentences("", 100), IsEmpty());
  EXPECT_THAT(sentences(" \n\t ", 100), IsEmpty());
}

TEST(Sentences, LongOnesArePartedWhereItHurtsLeast) {
  EXPECT_THAT(sentences("one two, three four five", 12),
              ElementsAre("one two,", "three four", "five"));
  EXPECT_THAT(sentences("aaaaaaaa", 3), ElementsAre("aaa", "aaa", "aa"));
  EXPECT_THAT(sentences("ééé", 3), ElementsAre("é", "é", "é")) << "never within a character";
}

}  // namespace
}  // namespace tutti::serve
