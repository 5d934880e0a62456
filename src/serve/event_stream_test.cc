// Streams that are read on after the connection was lost, over replies that only keep what is said.
#include "serve/event_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>

namespace tutti::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class FakeReply final : public HttpReply {
 public:
  void send(HttpResponse response) override { sent = response; }
  void begin(HttpResponse head) override { text += head.body; }
  bool write(std::string_view piece) override {
    text += piece;
    return true;
  }
  void end() override { ended = true; }
  void break_off() override { broken_off = true; }
  void on_disconnect(std::function<void()> gone) override { gone_ = std::move(gone); }
  void lose() { std::exchange(gone_, nullptr)(); }

  std::string text;
  std::optional<HttpResponse> sent;
  bool ended = false;
  bool broken_off = false;

 private:
  std::function<void()> gone_;
};

class EventStreamTest : public ::testing::Test {
 protected:
  std::shared_ptr<EventStream> open(StreamRegistry* registry, const std::string& owner = "") {
    return EventStream::create("s", reply_, registry, [this] { ++abandoned_; }, owner);
  }
  static std::string event(int number) {
    return "id: s:" + std::to_string(number) + "\ndata: " + std::to_string(number) + "\n\n";
  }

  std::shared_ptr<FakeReply> reply_ = std::make_shared<FakeReply>();
  std::shared_ptr<FakeReply> second_ = std::make_shared<FakeReply>();
  std::atomic<int> abandoned_ = 0;
};

TEST_F(EventStreamTest, GoesOnWithoutGapOrDuplicate) {
  StreamRegistry registry;
  const auto stream = open(&registry);
  for (const char* data : {"1", "2", "3"}) stream->send(data);
  reply_->lose();
  stream->send("4");  // while nobody listens
  EXPECT_TRUE(registry.resume("s:2", "", second_).ok());
  stream->send("5");
  stream->end();
  EXPECT_EQ(reply_->text, event(1) + event(2) + event(3));
  EXPECT_EQ(second_->text, event(3) + event(4) + event(5));
  EXPECT_TRUE(second_->ended);
  EXPECT_EQ(abandoned_, 0);
}

TEST_F(EventStreamTest, AnOldConnectionThatEndsLateTakesNothingFromTheNewOne) {
  StreamRegistry registry;
  const auto stream = open(&registry);
  stream->send("1");
  ASSERT_TRUE(registry.resume("s:1", "", second_).ok());
  EXPECT_TRUE(reply_->broken_off);
  EXPECT_FALSE(reply_->ended);
  reply_->lose();
  stream->send("2");
  EXPECT_EQ(second_->text, event(2));
}

TEST_F(EventStreamTest, EventsAreKeptUpToABound) {
  StreamRegistry registry;
  const auto stream = open(&registry);
  const std::string large(EventStream::kMostKeptBytes / 2, 'x');
  stream->send("first");
  stream->send(large);
  stream->send(large);
  const Status status = registry.resume("s:1", "", second_);
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(),
              HasSubstr("no longer kept; the first one that is has the number 3"));
  EXPECT_EQ(status.param(), "Last-Event-ID");
  EXPECT_EQ(second_->text, "");
  // What is kept can still be had.
  EXPECT_TRUE(registry.resume("s:2", "", second_).ok());
  EXPECT_THAT(second_->text, HasSubstr("id: s:3"));
}

TEST_F(EventStreamTest, WrongIdsAreClearErrors) {
  StreamRegistry registry;
  const auto stream = open(&registry);
  stream->send("1");
  const auto refused = [&](const std::string& id) { return registry.resume(id, "", second_); };
  EXPECT_EQ(refused("s:7").code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(refused("s:7").message(), HasSubstr("its last one is 1"));
  EXPECT_EQ(refused("other:1").code(), StatusCode::kNotFound);
  for (const char* id : {"", "s", "s:", "s:x", "s:-1", "s:1x", ":", "s:99999999999999999999"}) {
    EXPECT_EQ(refused(id).code(), StatusCode::kInvalidArgument) << id;
    EXPECT_EQ(refused(id).param(), "Last-Event-ID") << id;
  }
}

TEST_F(EventStreamTest, BelongsToTheKeyThatBeganIt) {
  StreamRegistry registry;
  const auto stream = open(&registry, "mine");
  stream->send("1");
  EXPECT_EQ(registry.resume("s:0", "yours", second_).code(), StatusCode::kNotFound);
  EXPECT_EQ(registry.resume("s:0", "", second_).code(), StatusCode::kNotFound);
  EXPECT_EQ(second_->text, "");
  EXPECT_TRUE(registry.resume("s:0", "mine", second_).ok());
  EXPECT_EQ(second_->text, event(1));
}

TEST_F(EventStreamTest, WhoDoesNotComeBackAbandonsIt) {
  StreamRegistry registry(std::chrono::milliseconds(20));
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  const auto stream = EventStream::create("s", reply_, &registry, [&] {
    const std::lock_guard lock(mutex);
    over = true;
    changed.notify_all();
  });
  stream->send("1");
  reply_->lose();
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return over; }));
  lock.unlock();
  EXPECT_EQ(registry.resume("s:1", "", second_).code(), StatusCode::kNotFound);
}

TEST_F(EventStreamTest, WithoutARegistryALostClientEndsIt) {
  const auto stream = open(nullptr);
  stream->send("1");
  EXPECT_THAT(reply_->text, Not(HasSubstr("id:")));
  reply_->lose();
  EXPECT_EQ(abandoned_, 1);
}

TEST_F(EventStreamTest, AnErrorBeforeTheFirstEventHasItsOwnStatus) {
  const auto stream = open(nullptr);
  stream->fail(resource_exhausted("Full.").with_retry_after(2));
  ASSERT_TRUE(reply_->sent);
  EXPECT_EQ(reply_->sent->status, 429);
  EXPECT_EQ(reply_->text, "");
}

}  // namespace
}  // namespace tutti::serve
