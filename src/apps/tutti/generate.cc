// `tutti generate`: one prompt through the whole engine; text to stdout while it is produced,
// speech to a WAV file.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "tutti/async_omni_engine.h"

#include "apps/tutti/command.h"
#include "apps/tutti/interrupt.h"
#include "apps/tutti/loading_bar.h"
#include "base/strings.h"
#include "media/wav_writer.h"

namespace tutti::cli {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kRequestId = "generate";
// Longest silence from the engine before the command gives up on it.
constexpr double kStallTimeout_s = 600;
constexpr double kAbortTimeout_s = 10;
// About -60 dB: below it a listener hears nothing yet.
constexpr float kAudibleLevel = 1e-3f;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// What came out so far, and when.
struct Answer {
  Clock::time_point start;
  int64_t text_tokens = 0;
  int64_t audio_samples = 0;
  int32_t sample_rate = 0;
  std::optional<double> first_token_s;
  std::optional<double> first_audible_s;
  std::string last_text;
  std::unique_ptr<WavWriter> wav;
};

Status check_output_path(const std::string& path) {
  namespace fs = std::filesystem;
  if (path.empty()) return {};
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return invalid_argument(fmt::format("cannot write '{}': it is a directory", path));
  }
  const fs::path parent = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : ".";
  if (!fs::is_directory(parent, error)) {
    return invalid_argument(
        fmt::format("cannot write '{}': there is no directory '{}'", path, parent.string()));
  }
  const std::string probe = fs::exists(path, error) ? path : parent.string();
  if (access(probe.c_str(), W_OK) != 0) {
    return invalid_argument(fmt::format("cannot write '{}': permission denied", path));
  }
  return {};
}

// Final stages whose output types were asked for.
Result<std::vector<int32_t>> wanted_stages(const AsyncOmniEngine& engine,
                                           const GenerateFlags& flags) {
  std::vector<std::string> wanted = flags.modalities;
  if (wanted.empty()) {
    wanted.push_back("text");
    if (!flags.audio_out.empty()) wanted.push_back("audio");
  }
  std::vector<int32_t> stages;
  std::vector<std::string> known;
  for (int32_t i = 0; i < engine.num_stages(); ++i) {
    const auto info = engine.get_stage_metadata(i);
    if (!info.ok() || !info->final_output) continue;
    known.push_back(info->final_output_type);
    if (std::find(wanted.begin(), wanted.end(), info->final_output_type) != wanted.end()) {
      stages.push_back(i);
    }
  }
  for (const std::string& type : wanted) {
    if (std::find(known.begin(), known.end(), type) == known.end()) {
      return invalid_argument(
          fmt::format("this model does not put out {}; it has: {}", type, join(known)));
    }
  }
  return stages;
}

AddRequest make_request(const AsyncOmniEngine& engine, const GenerateFlags& flags,
                        std::vector<int32_t> stages) {
  AddRequest request;
  request.request_id = kRequestId;
  request.voice = flags.voice;
  request.final_output_stage_ids = std::move(stages);
  request.sampling_params_list = engine.default_sampling_params_list();
  for (size_t i = 0; i < request.sampling_params_list.size(); ++i) {
    SamplingParams& params = request.sampling_params_list[i];
    (i == 0 ? flags.text_sampling : flags.speech_sampling).apply(params);
    if (flags.seed) params.seed = flags.seed;
  }
  if (flags.raw) {
    request.prompt = TextPrompt{flags.text};
    return request;
  }
  ChatPrompt chat;
  if (!flags.system.empty()) {
    chat.messages.push_back(ChatMessage::text("system", flags.system));
  }
  ChatMessage user;
  user.role = "user";
  for (const MediaItem& item : flags.media) user.content.push_back({"", item});
  user.content.push_back({flags.text, std::nullopt});
  chat.messages.push_back(std::move(user));
  chat.use_audio_in_video = flags.use_audio_in_video;
  request.prompt = std::move(chat);
  return request;
}

Status take_audio(const GenerateFlags& flags, const AudioChunk& audio, Answer& answer) {
  if (audio.samples.empty()) return {};
  if (!answer.first_audible_s) {
    const auto audible = std::find_if(audio.samples.begin(), audio.samples.end(),
                                      [](float s) { return std::abs(s) > kAudibleLevel; });
    if (audible != audio.samples.end()) {
      const auto offset =
          static_cast<double>(answer.audio_samples + (audible - audio.samples.begin()));
      answer.first_audible_s = seconds_since(answer.start) + offset / audio.sample_rate;
    }
  }
  answer.audio_samples += static_cast<int64_t>(audio.samples.size());
  answer.sample_rate = audio.sample_rate;
  if (flags.audio_out.empty()) return {};
  if (!answer.wav) {
    TUTTI_ASSIGN_OR_RETURN(answer.wav, WavWriter::create(flags.audio_out, audio.sample_rate));
  }
  return answer.wav->append(audio.samples);
}

Status take_output(const GenerateFlags& flags, const OutputMessage& message, Answer& answer) {
  const StageOutputDelta& delta = message.output;
  if (!delta.token_ids.empty() && message.output_type == "text") {
    if (!answer.first_token_s) answer.first_token_s = seconds_since(answer.start);
    answer.text_tokens += static_cast<int64_t>(delta.token_ids.size());
  }
  if (!delta.text.empty()) {
    std::fwrite(delta.text.data(), 1, delta.text.size(), stdout);
    std::fflush(stdout);
    answer.last_text = delta.text;
  }
  return take_audio(flags, delta.audio, answer);
}

// Runs until the terminal message. True in the result: it was interrupted.
Result<bool> collect(AsyncOmniEngine& engine, const GenerateFlags& flags,
                     const InterruptGuard& interrupt, Answer& answer) {
  bool aborting = false;
  Clock::time_point last_news = Clock::now();
  while (true) {
    TUTTI_ASSIGN_OR_RETURN(std::optional<EngineMessage> message, engine.try_get_output(0.05));
    if (interrupt.interrupted() && !aborting) {
      aborting = true;
      last_news = Clock::now();
      TUTTI_RETURN_IF_ERROR(engine.abort({kRequestId}));
    }
    if (!message) {
      if (aborting && seconds_since(last_news) > kAbortTimeout_s) return true;
      if (seconds_since(last_news) > kStallTimeout_s) {
        return deadline_exceeded(
            fmt::format("the engine has been silent for {:.0f} seconds", kStallTimeout_s));
      }
      continue;
    }
    last_news = Clock::now();
    if (const auto* error = std::get_if<ErrorMessage>(&*message)) return error->error;
    if (const auto* output = std::get_if<OutputMessage>(&*message)) {
      TUTTI_RETURN_IF_ERROR(take_output(flags, *output, answer));
      if (output->finished) return aborting;
    }
  }
}

void print_figures(const GenerateFlags& flags, const Answer& answer) {
  if (flags.quiet) return;
  const double total_s = seconds_since(answer.start);
  std::string line = fmt::format("{} tokens", answer.text_tokens);
  if (answer.first_token_s)
    line += fmt::format(", first token {:.0f} ms", 1e3 * *answer.first_token_s);
  if (answer.audio_samples > 0) {
    const double audio_s = static_cast<double>(answer.audio_samples) / answer.sample_rate;
    line += fmt::format(", {:.2f} s of speech, RTF {:.2f}", audio_s, total_s / audio_s);
    if (answer.first_audible_s) {
      line += fmt::format(", first audible {:.0f} ms", 1e3 * *answer.first_audible_s);
    }
    if (!flags.audio_out.empty()) line += fmt::format(", in {}", flags.audio_out);
  }
  std::fputs((line + "\n").c_str(), stderr);
}

}  // namespace

void SamplingFlags::apply(SamplingParams& params) const {
  if (temperature) params.temperature = *temperature;
  if (top_p) params.top_p = *top_p;
  if (top_k) params.top_k = *top_k;
  if (min_p) params.min_p = *min_p;
  if (repetition_penalty) params.repetition_penalty = *repetition_penalty;
  if (max_tokens) params.max_tokens = *max_tokens;
  if (!stop.empty()) params.stop = stop;
  if (ignore_eos) params.ignore_eos = true;
}

int report_error(const Status& status) {
  std::fputs(fmt::format("error: {}\n", status.message()).c_str(), stderr);
  // Paths and models are the world's fault (1); values of flags are the caller's (2).
  return status.code() == StatusCode::kInvalidArgument && !status.param().empty() ? kExitUsage
                                                                                  : kExitFailure;
}

int report_usage_error(const std::string& sentence) {
  std::fputs(fmt::format("error: {}\n", sentence).c_str(), stderr);
  return kExitUsage;
}

int run_generate(const GenerateFlags& flags) {
  if (flags.text.empty()) return report_usage_error("--text is empty; give it at least one word");
  if (flags.raw && !flags.media.empty()) {
    return report_usage_error(
        "--raw takes no --audio, --image and --video; they need the chat template");
  }
  SamplingParams probe;
  for (const SamplingFlags* sampling : {&flags.text_sampling, &flags.speech_sampling}) {
    sampling->apply(probe);
    if (const Status status = probe.validate(); !status.ok()) return report_error(status);
  }
  const bool audio_wanted = flags.modalities.empty() ||
                            std::find(flags.modalities.begin(), flags.modalities.end(), "audio") !=
                                flags.modalities.end();
  if (!flags.audio_out.empty() && !audio_wanted) {
    return report_usage_error("--audio-out needs audio among --modalities; found only text");
  }
  if (const Status status = check_output_path(flags.audio_out); !status.ok()) {
    return report_error(status);
  }

  LoadingBar bar(flags.quiet);
  EngineOptions options = flags.engine;
  options.on_progress = [&bar](const std::string& stage, double fraction, const std::string& what) {
    bar.update(stage, fraction, what);
  };
  auto engine = AsyncOmniEngine::create(flags.model, options);
  bar.finish(engine.ok());
  if (!engine.ok()) return report_error(engine.error());

  const InterruptGuard interrupt;
  auto stages = wanted_stages(**engine, flags);
  if (!stages.ok()) return report_error(stages.error());
  Answer answer;
  answer.start = Clock::now();
  const Status added = (*engine)->add_request(make_request(**engine, flags, std::move(*stages)));
  if (!added.ok()) return report_error(added);
  const Result<bool> interrupted = collect(**engine, flags, interrupt, answer);
  if (!answer.last_text.empty() && !answer.last_text.ends_with('\n')) std::fputs("\n", stdout);
  if (!interrupted.ok()) return report_error(interrupted.error());
  if (answer.wav) {
    if (const Status status = answer.wav->finish(); !status.ok()) return report_error(status);
  }
  print_figures(flags, answer);
  return *interrupted ? kExitInterrupted : kExitOk;
}

}  // namespace tutti::cli
