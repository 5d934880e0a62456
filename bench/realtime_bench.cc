// From the end of a spoken turn to the first sound of the answer, over /v1/realtime of the real
// binary, with turns taken in while they are spoken and at their end.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "voice.h"
#include "websocket_client.h"

namespace tutti::testing {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPiece_ms = 100;

struct Flags {
  std::string voice = TUTTI_SOURCE_DIR "/tests/data/goldens/media/speech_long_16k.wav";
  std::vector<double> turns_s{3, 12, 30};
  int repeats = 3;
  int history_turns = 4;
  bool prefix_caching = true;
};

class Session {
 public:
  explicit Session(const ServerProcess& server) : client_(server) {
    client_.next("session.created");
    client_.send(
        {{"type", "session.update"},
         {"session",
          {{"audio", {{"input", {{"turn_detection", nullptr}}}}}, {"max_output_tokens", 24}}}});
    client_.next("session.updated");
  }
  // As a microphone does, or, for the history, at once.
  void say(const std::string& samples, bool in_real_time) {
    const size_t piece = kPiece_ms * kVoiceBytesPerMs;
    Clock::time_point due = Clock::now();
    for (size_t at = 0; at < samples.size(); at += piece) {
      client_.send(
          {{"type", "input_audio_buffer.append"}, {"audio", base64(samples.substr(at, piece))}});
      due += std::chrono::milliseconds(kPiece_ms);
      if (in_real_time) std::this_thread::sleep_until(due);
    }
  }
  // Milliseconds to the first sound.
  double answer() {
    client_.send({{"type", "input_audio_buffer.commit"}});
    client_.send({{"type", "response.create"}});
    const Clock::time_point begin = Clock::now();
    client_.next("response.output_audio.delta");
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    client_.next("response.done");
    return ms;
  }

 private:
  WebSocketClient client_;
};

// The median of a turn of this length behind the history.
double measure(const Flags& flags, const char* window_s, double turn_s) {
  std::vector<std::string> words{"--realtime-window", window_s};
  if (!flags.prefix_caching) words.insert(words.end(), {"--enable-prefix-caching", "false"});
  const ServerProcess server(words);
  std::string speech = voice(flags.voice);
  const auto bytes = static_cast<size_t>(turn_s * 1000) * kVoiceBytesPerMs;
  while (speech.size() < bytes) speech += speech;
  std::vector<double> all_ms;
  for (int i = 0; i < flags.repeats; ++i) {
    Session session(server);
    for (int turn = 0; turn < flags.history_turns; ++turn) {
      // Another sound each time, so that no cache knows it from the last repeat.
      const size_t from = kVoiceBytesPerMs * static_cast<size_t>(150 * i + 700 * turn + 10);
      session.say(speech.substr(from, 4000 * kVoiceBytesPerMs), false);
      session.answer();
    }
    speech[static_cast<size_t>(2 * i)] = static_cast<char>(i + 1);
    session.say(speech.substr(0, bytes), true);
    all_ms.push_back(session.answer());
  }
  std::sort(all_ms.begin(), all_ms.end());
  return all_ms[all_ms.size() / 2];
}

int run(int argc, char** argv) {
  Flags flags;
  CLI::App app("From the end of a spoken turn to the first sound of the answer");
  app.add_option("--voice", flags.voice, "WAV of 16-bit samples at 16000 Hz")
      ->capture_default_str();
  app.add_option("--turns", flags.turns_s, "Seconds of the turns")->capture_default_str();
  app.add_option("--history", flags.history_turns, "Spoken turns before")->capture_default_str();
  app.add_option("--repeats", flags.repeats)->capture_default_str();
  app.add_option("--prefix-caching", flags.prefix_caching)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::printf("%8s %16s %16s %8s\n", "turn", "at its end", "while spoken", "ratio");
  for (const double turn_s : flags.turns_s) {
    const double late = measure(flags, "0", turn_s);
    const double early = measure(flags, "8", turn_s);
    std::printf("%6.0f s %13.1f ms %13.1f ms %8.2f\n", turn_s, late, early, early / late);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace tutti::testing

int main(int argc, char** argv) { return tutti::testing::run(argc, argv); }
