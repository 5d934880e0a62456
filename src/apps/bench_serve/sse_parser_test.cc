#include "apps/bench_serve/sse_parser.h"

#include <gtest/gtest.h>

namespace tutti::bench {
namespace {

using Events = std::vector<std::pair<std::string, std::string>>;

Events parse(const std::vector<std::string_view>& pieces) {
  SseParser parser;
  Events events;
  for (const std::string_view piece : pieces) {
    const Status status = parser.feed(piece, [&](std::string_view name, std::string_view data) {
      events.emplace_back(name, data);
    });
    EXPECT_TRUE(status.ok()) << status.message();
  }
  return events;
}

TEST(SseParser, ReadsEventsOfEveryLineEnd) {
  const Events two{{"", "{\"a\":1}"}, {"done", "x\ny"}};
  EXPECT_EQ(parse({"data: {\"a\":1}\n\nevent: done\ndata: x\ndata: y\n\n"}), two);
  EXPECT_EQ(parse({"data: {\"a\":1}\r\n\r\nevent: done\r\ndata: x\r\ndata: y\r\n\r\n"}), two);
  EXPECT_EQ(parse({"data: {\"a\":1}\r\revent: done\rdata: x\rdata: y\r\r"}), two);
}

TEST(SseParser, PiecesMayBeCutAnywhere) {
  const std::string text =
      "\xEF\xBB\xBF: a comment\r\nid: 7\r\ndata:one\r\n\r\ndata: two\nretry: 5\n\nevent:e\rdata:  "
      "three\r\rdata: [DONE]\n\n";
  const Events whole = parse({text});
  const Events expected{{"", "one"}, {"", "two"}, {"e", " three"}, {"", "[DONE]"}};
  EXPECT_EQ(whole, expected);
  const std::string_view view = text;
  for (size_t first = 0; first <= view.size(); ++first) {
    for (size_t second = first; second <= view.size(); ++second) {
      EXPECT_EQ(
          parse({view.substr(0, first), view.substr(first, second - first), view.substr(second)}),
          expected)
          << first << " " << second;
    }
  }
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < view.size(); ++i) bytes.push_back(view.substr(i, 1));
  EXPECT_EQ(parse(bytes), expected);
}

TEST(SseParser, AnEventWithoutItsEndIsNone) {
  EXPECT_EQ(parse({"data: one\n\ndata: two\n"}), (Events{{"", "one"}}));
  EXPECT_EQ(parse({"event: nothing\n\n"}), Events{});
  EXPECT_EQ(parse({"data\n\n"}), (Events{{"", ""}}));
}

TEST(SseParser, AnEventIsBounded) {
  SseParser parser;
  const std::string piece(1 << 20, 'x');
  Status status = parser.feed("data: ", [](auto, auto) {});
  for (int i = 0; i < 65 && status.ok(); ++i) status = parser.feed(piece, [](auto, auto) {});
  EXPECT_EQ(status.code(), StatusCode::kPayloadTooLarge);
}

}  // namespace
}  // namespace tutti::bench
