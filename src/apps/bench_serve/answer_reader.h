// What an endpoint's answer says, as it arrives: text, sound, counts, errors.
//
// Thread: one.
#pragma once

#include <memory>
#include <string_view>

#include "tutti/status.h"

#include "apps/bench_serve/load_options.h"
#include "apps/bench_serve/measurement.h"

namespace tutti::bench {

// The body of an answer with status 200.
class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  // Errors: the server's own, or bytes that cannot be read.
  virtual Status feed(std::string_view bytes, double now_s, Measurement& measurement) = 0;
};

// Error: a content type that is neither an event stream nor sound that can be measured.
Result<std::unique_ptr<AnswerReader>> make_answer_reader(std::string_view content_type);

// The sentence of an error's body: OpenAI's {"error": {"message"}}, or the body itself.
std::string error_sentence(std::string_view body);

// The events of a realtime answer.
class RealtimeReader {
 public:
  RealtimeReader();
  ~RealtimeReader();
  enum class Event : uint8_t { kOther, kSessionUpdated, kDone };
  // Errors: an `error` event, a response that failed or was cancelled, no JSON.
  Result<Event> read(std::string_view message, double now_s, Measurement& measurement);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tutti::bench
