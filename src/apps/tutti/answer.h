// One request through a loaded engine: text to stdout while it is produced, speech to a WAV file.
//
// Thread: one caller at a time.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tutti/async_omni_engine.h"

#include "apps/tutti/command.h"
#include "apps/tutti/interrupt.h"

namespace tutti::cli {

// What came out, and when (seconds since the request was made).
struct Answer {
  std::chrono::steady_clock::time_point start;
  std::string text;
  int64_t text_tokens = 0;
  int64_t audio_samples = 0;
  int32_t sample_rate = 0;
  std::optional<double> first_token_s;
  std::optional<double> first_audible_s;
  bool interrupted = false;
};

// Loads the model, with a bar on stderr unless the flags say quiet.
Result<std::unique_ptr<AsyncOmniEngine>> load_engine(const CommonFlags& flags);

// OK when the values of all sampling flags are allowed.
Status check_sampling(const CommonFlags& flags);

// Final stages whose output types ("text", "audio") are among `wanted`.
Result<std::vector<int32_t>> wanted_stages(const AsyncOmniEngine& engine,
                                           const std::vector<std::string>& wanted);

AddRequest make_request(const AsyncOmniEngine& engine, const CommonFlags& flags, std::string id,
                        Prompt prompt, std::vector<int32_t> stages);

// Runs the request to its end, or until an interrupt has stopped it. Speech goes to `audio_out`
// (none when empty); a partial file is kept after an interrupt and removed after an error.
Result<Answer> answer(AsyncOmniEngine& engine, AddRequest request, const std::string& audio_out,
                      const InterruptGuard& interrupt);

// One line on stderr: tokens, latencies, seconds of speech and where they are.
void print_figures(const Answer& answer, const std::string& audio_out);

}  // namespace tutti::cli
