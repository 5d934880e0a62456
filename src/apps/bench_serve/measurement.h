// Measurement: what one request's client saw, and when.
//
// Thread: one. Times are seconds of the run's clock; latencies are since the request began.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tutti/status.h"

#include "orchestrator/playback.h"

namespace tutti::bench {

enum class Outcome : uint8_t {
  kUnfinished,  // never sent, or cut off by an interrupt
  kCompleted,
  kFailed,
};

struct RequestRecord {
  Outcome outcome = Outcome::kUnfinished;
  std::string error;          // of a failed one
  double begin_s = -1;        // -1: never sent
  double e2el_s = -1;         // to the end of the answer; -1, here and below: there was none
  double ttft_s = -1;         // to the first text
  double text_end_s = -1;     // to the last text
  std::vector<float> itls_s;  // between one event with text and the next
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;  // of text: as the server counts them, else events with text
  double ttfp_s = -1;         // to the first sound, audible or not
  double ttfa_s = -1;         // to the first audible sound
  int64_t audio_chunks = 0;
  double audio_s = 0;
  double underrun_s = 0;  // silence that a listener hears who plays from the first sound on

  bool has_audio() const { return audio_s > 0; }
  // Per token after the first; -1 for fewer than two.
  double tpot_s() const;
  double audio_rtf() const { return e2el_s / audio_s; }
};

class Measurement {
 public:
  void begin(double now_s);
  // Text has come, whatever its length.
  void text(double now_s);
  void audio(double now_s, std::span<const float> samples, int32_t sample_rate);
  // The server's own count; negative: it says nothing of it.
  void usage(int64_t input_tokens, int64_t output_tokens);
  // The answer is over: completed when it had text or sound, failed else.
  void end(double now_s);
  void fail(double now_s, const Status& status);
  // Until end() or fail() the record is unfinished.
  const RequestRecord& record() const { return record_; }
  RequestRecord take() { return std::move(record_); }

 private:
  RequestRecord record_;
  Playback playback_;
  int64_t text_events_ = 0;
  double last_text_s_ = 0;
};

}  // namespace tutti::bench
