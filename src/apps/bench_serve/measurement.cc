#include "apps/bench_serve/measurement.h"

namespace tutti::bench {

double RequestRecord::tpot_s() const {
  if (output_tokens < 2 || ttft_s < 0) return -1;
  return (text_end_s - ttft_s) / static_cast<double>(output_tokens - 1);
}

void Measurement::begin(double now_s) { record_.begin_s = now_s; }

void Measurement::text(double now_s) {
  if (text_events_++ == 0) {
    record_.ttft_s = now_s - record_.begin_s;
  } else {
    record_.itls_s.push_back(static_cast<float>(now_s - last_text_s_));
  }
  last_text_s_ = now_s;
  record_.text_end_s = now_s - record_.begin_s;
}

void Measurement::audio(double now_s, std::span<const float> samples, int32_t sample_rate) {
  if (samples.empty()) return;
  const double since_s = now_s - record_.begin_s;
  ++record_.audio_chunks;
  if (record_.ttfp_s < 0) record_.ttfp_s = since_s;
  playback_.add(since_s, samples, sample_rate);
  if (playback_.first_audio_s() > 0) record_.ttfa_s = playback_.first_audio_s();
  record_.audio_s = playback_.audio_s();
  record_.underrun_s = playback_.underrun_s();
}

void Measurement::usage(int64_t input_tokens, int64_t output_tokens) {
  if (input_tokens >= 0) record_.input_tokens = input_tokens;
  if (output_tokens >= 0) record_.output_tokens = output_tokens;
}

void Measurement::end(double now_s) {
  if (text_events_ == 0 && !record_.has_audio()) {
    return fail(now_s, internal_error("The answer has neither text nor sound."));
  }
  if (record_.output_tokens == 0) record_.output_tokens = text_events_;
  record_.e2el_s = now_s - record_.begin_s;
  record_.outcome = Outcome::kCompleted;
}

void Measurement::fail(double now_s, const Status& status) {
  record_.e2el_s = now_s - record_.begin_s;
  record_.outcome = Outcome::kFailed;
  record_.error = status.message();
}

}  // namespace tutti::bench
