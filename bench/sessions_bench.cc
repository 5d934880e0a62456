// Many conversations at once against one, and streaming between stages against handing whole
// results over, through AsyncOmniEngine.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "tutti/async_omni_engine.h"

namespace tutti {
namespace {

using Clock = std::chrono::steady_clock;

struct Flags {
  std::string model = TUTTI_SOURCE_DIR "/models/nano";
  std::string load_format = "auto";
  int sessions = 64;
  int tokens = 24;       // of text, per answer
  int frames = 50;       // of speech, per answer
  double answer_s = 10;  // of speech, for streaming on against off
  int rounds = 15;       // of streaming on against off
};

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// What a listener of one answer has seen.
struct Listener {
  Clock::time_point asked;
  double first_audio_s = 0;
  double end_s = 0;
  double audio_s = 0;
  double underrun_s = 0;
  double compute_s[3] = {};  // of each stage's steps
};

struct Run {
  std::vector<Listener> listeners;
  double wall_s = 0;
  int64_t tokens = 0;
  double audio_s() const {
    double sum = 0;
    for (const Listener& l : listeners) sum += l.audio_s;
    return sum;
  }
};

int fail(const Status& status) {
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return 1;
}

Result<std::unique_ptr<AsyncOmniEngine>> create(const Flags& flags, int max_num_seqs,
                                                bool async_chunk) {
  EngineOptions options;
  options.load_format = flags.load_format;
  options.max_num_seqs = max_num_seqs;
  options.async_chunk = async_chunk;
  options.request_queue_size = 1024;
  return AsyncOmniEngine::create(flags.model, options);
}

AddRequest ask(const AsyncOmniEngine& engine, int number, int tokens, int frames) {
  AddRequest request;
  request.request_id = "r" + std::to_string(number);
  // A chat, since speech needs the model's turn; every session's words differ.
  std::string words = "Say:";
  constexpr const char* kWords[] = {"the", "boat", "is", "late", "and", "seven", "birds", "sing"};
  for (int i = 0; i < 16; ++i) words += std::string(" ") + kWords[(5 * number + 3 * i) % 8];
  request.prompt = ChatPrompt{.messages = {ChatMessage::text("user", words + ".")}};
  request.sampling_params_list = engine.default_sampling_params_list();
  for (SamplingParams& params : request.sampling_params_list) {
    params.ignore_eos = true;
    params.seed = static_cast<uint64_t>(number);
  }
  request.sampling_params_list[0].max_tokens = tokens;
  request.sampling_params_list[0].min_tokens = tokens;
  request.sampling_params_list[1].max_tokens = frames;
  request.sampling_params_list[1].min_tokens = frames;
  return request;
}

// `count` answers at once.
Result<Run> run(AsyncOmniEngine& engine, int count, int tokens, int frames) {
  Run result;
  std::map<std::string, Listener> listeners;
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < count; ++i) {
    AddRequest request = ask(engine, i, tokens, frames);
    listeners[request.request_id].asked = Clock::now();
    TUTTI_RETURN_IF_ERROR(engine.add_request(std::move(request)));
  }
  for (int open = count; open > 0;) {
    TUTTI_ASSIGN_OR_RETURN(const auto message, engine.try_get_output(300));
    if (!message) return deadline_exceeded("The engine has been silent for 300 s.");
    if (const auto* error = std::get_if<ErrorMessage>(&*message)) return error->error;
    if (const auto* metrics = std::get_if<StageMetricsMessage>(&*message))
      listeners[metrics->request_id].compute_s[metrics->stage_id] = metrics->metrics.compute_s;
    const auto* output = std::get_if<OutputMessage>(&*message);
    if (output == nullptr) continue;
    Listener& listener = listeners[output->request_id];
    listener.compute_s[output->stage_id] = output->metrics.compute_s;
    const double now_s = seconds(Clock::now() - listener.asked);
    result.tokens += static_cast<int64_t>(output->output.token_ids.size());
    const AudioChunk& audio = output->output.audio;
    if (!audio.samples.empty()) {
      if (listener.first_audio_s == 0) listener.first_audio_s = now_s;
      listener.audio_s += static_cast<double>(audio.samples.size()) / audio.sample_rate;
    }
    listener.underrun_s = std::max(listener.underrun_s, output->metrics.underrun_s);
    if (!output->finished) continue;
    listener.end_s = now_s;
    --open;
  }
  result.wall_s = seconds(Clock::now() - begin);
  for (const auto& [id, listener] : listeners) result.listeners.push_back(listener);
  return result;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

std::vector<double> of(const Run& run, double Listener::* field) {
  std::vector<double> values;
  for (const Listener& listener : run.listeners) values.push_back(listener.*field);
  return values;
}

void print(const char* name, const Run& run) {
  const std::vector<double> ttfa = of(run, &Listener::first_audio_s);
  const std::vector<double> underrun = of(run, &Listener::underrun_s);
  std::printf("| %s | %.2f | %.0f | %.2f | %.0f | %.0f | %.2f | %.2f |\n", name, run.wall_s,
              static_cast<double>(run.tokens) / run.wall_s, run.audio_s() / run.wall_s,
              1e3 * quantile(ttfa, 0.5), 1e3 * quantile(ttfa, 0.95), quantile(underrun, 0.5),
              quantile(underrun, 0.95));
}

int many_against_one(const Flags& flags) {
  auto engine = create(flags, flags.sessions, true);
  if (!engine) return fail(engine.error());
  std::printf(
      "| run | wall s | text tokens/s | s of speech per s | TTFA p50 ms | p95 ms | underrun "
      "p50 s | p95 s |\n|---|---|---|---|---|---|---|---|\n");
  // Scratch memory grows once.
  if (auto warm = run(**engine, flags.sessions, 4, 4); !warm) return fail(warm.error());
  auto one = run(**engine, 1, flags.tokens, flags.frames);
  if (!one) return fail(one.error());
  print("1 session", *one);
  auto many = run(**engine, flags.sessions, flags.tokens, flags.frames);
  if (!many) return fail(many.error());
  print((std::to_string(flags.sessions) + " sessions").c_str(), *many);
  std::printf("\nthroughput gain: %.2f\n\n",
              many->audio_s() / many->wall_s / (one->audio_s() / one->wall_s));
  return 0;
}

int streaming_against_whole(const Flags& flags) {
  constexpr double kFrames_per_s = 12.5;
  const int frames = static_cast<int>(flags.answer_s * kFrames_per_s);
  auto on = create(flags, 16, true);
  if (!on) return fail(on.error());
  auto off = create(flags, 16, false);
  if (!off) return fail(off.error());
  // In turns, each the first of a pair as often as the other, so that a machine whose speed drifts
  // meets both alike; the ratios are of pairs.
  std::vector<double> end[2], first[2], compute[2][3], end_ratio, first_ratio;
  for (int round = 0; round <= flags.rounds; ++round) {
    for (const int turn : {0, 1}) {
      const int streams = (round + turn) % 2;
      auto one = run(streams ? **on : **off, 1, flags.tokens, frames);
      if (!one) return fail(one.error());
      if (round == 0) continue;  // warms up
      end[streams].push_back(one->listeners[0].end_s);
      first[streams].push_back(one->listeners[0].first_audio_s);
      for (int stage = 0; stage < 3; ++stage)
        compute[streams][stage].push_back(one->listeners[0].compute_s[stage]);
    }
    if (round == 0) continue;
    end_ratio.push_back(end[1].back() / end[0].back());
    first_ratio.push_back(first[0].back() / first[1].back());
  }
  std::printf(
      "| %.0f s answer | end to end s | first audio s | steps of thinker s | talker s | vocoder s "
      "|\n"
      "|---|---|---|---|---|---|\n",
      flags.answer_s);
  for (const int streams : {1, 0}) {
    std::printf("| async_chunk %s | %.3f | %.3f | %.3f | %.3f | %.3f |\n", streams ? "on" : "off",
                quantile(end[streams], 0.5), quantile(first[streams], 0.5),
                quantile(compute[streams][0], 0.5), quantile(compute[streams][1], 0.5),
                quantile(compute[streams][2], 0.5));
  }
  std::printf("\nend to end on/off: %.3f (quartiles %.3f, %.3f), first audio off/on: %.1f\n",
              quantile(end_ratio, 0.5), quantile(end_ratio, 0.25), quantile(end_ratio, 0.75),
              quantile(first_ratio, 0.5));
  return 0;
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  tutti::Flags flags;
  CLI::App app("Many sessions against one; streaming between stages against whole results");
  app.add_option("--model", flags.model, "Model directory")->capture_default_str();
  app.add_option("--load-format", flags.load_format, "auto or dummy")->capture_default_str();
  app.add_option("--sessions", flags.sessions, "Answers at once")->capture_default_str();
  app.add_option("--tokens", flags.tokens, "Of text, per answer")->capture_default_str();
  app.add_option("--frames", flags.frames, "Of speech, per answer")->capture_default_str();
  app.add_option("--answer-s", flags.answer_s, "Speech of the streaming comparison")
      ->capture_default_str();
  app.add_option("--rounds", flags.rounds, "Of the streaming comparison")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const int failed = tutti::many_against_one(flags);
  return failed != 0 ? failed : tutti::streaming_against_whole(flags);
}
