#include "engine/ar/stop_strings.h"

#include <gtest/gtest.h>

namespace tutti::ar {
namespace {

struct Shown {
  std::string text;
  std::string stop;
  bool operator==(const Shown&) const = default;
};

// Feeds `text` in pieces of `size` bytes and checks that nothing shown is ever taken back.
Shown feed(StopStrings stops, std::string_view text, size_t size) {
  Shown shown;
  for (size_t i = 0; i < text.size(); i += size) {
    if (const std::string* stop = stops.push(text.substr(i, size), shown.text)) {
      shown.stop = *stop;
      return shown;
    }
  }
  stops.flush(shown.text);
  return shown;
}

TEST(StopStrings, FindsAStopStringHoweverTheTextIsCut) {
  const std::string text = "one two <end> three";
  for (size_t size = 1; size <= text.size(); ++size) {
    EXPECT_EQ(feed({{"<end>"}, false}, text, size), (Shown{"one two ", "<end>"})) << size;
    EXPECT_EQ(feed({{"<end>"}, true}, text, size), (Shown{"one two <end>", "<end>"})) << size;
  }
}

TEST(StopStrings, ShowsEverythingWhenNoneComes) {
  const std::string text = "aab aa aaa abab";
  for (size_t size = 1; size <= text.size(); ++size)
    EXPECT_EQ(feed({{"aaaa", "abc"}, false}, text, size), (Shown{text, ""})) << size;
}

TEST(StopStrings, HoldsBackOnlyWhatMayBecomeAStopString) {
  StopStrings stops({"END"}, false);
  std::string shown;
  EXPECT_EQ(stops.push("the E", shown), nullptr);
  EXPECT_EQ(shown, "the ");
  EXPECT_EQ(stops.push("N", shown), nullptr);
  EXPECT_EQ(shown, "the ");
  EXPECT_EQ(stops.push("E", shown), nullptr);
  EXPECT_EQ(shown, "the EN");
  EXPECT_NE(stops.push("ND", shown), nullptr);
  EXPECT_EQ(shown, "the EN");
}

TEST(StopStrings, TakesTheMatchThatEndsFirstThenTheLonger) {
  for (size_t size = 1; size <= 8; ++size) {
    EXPECT_EQ(feed({{"cde", "bc"}, false}, "abcdef", size), (Shown{"a", "bc"})) << size;
    EXPECT_EQ(feed({{"c", "bc"}, false}, "abcdef", size), (Shown{"a", "bc"})) << size;
  }
}

TEST(StopStrings, PassesTextThatMayNotEndTheOutput) {
  StopStrings stops({"ab"}, false);
  std::string shown;
  stops.pass("abxa", shown);
  EXPECT_EQ(shown, "abxa");
  // The 'a' before does not count any more.
  EXPECT_EQ(stops.push("b", shown), nullptr);
  EXPECT_EQ(shown, "abxab");
}

}  // namespace
}  // namespace tutti::ar
