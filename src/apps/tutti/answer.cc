#include "apps/tutti/answer.h"

#include <fmt/format.h>

#include <cstdio>

#include "apps/tutti/loading_bar.h"
#include "base/strings.h"
#include "media/audible_onset.h"
#include "media/wav_writer.h"

namespace tutti::cli {

namespace {

using Clock = std::chrono::steady_clock;

// Longest silence from the engine before the command gives up on it.
constexpr double kStallTimeout_s = 600;
constexpr double kAbortTimeout_s = 10;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Where an answer goes while it is produced.
struct Sink {
  std::string audio_out;
  std::unique_ptr<WavWriter> wav;
  Answer answer;
  AudibleOnset onset = {};
};

Status take_audio(const AudioChunk& audio, Sink& sink) {
  if (audio.samples.empty()) return {};
  Answer& answer = sink.answer;
  if (sink.onset.add(audio.samples, audio.sample_rate)) {
    const auto offset = static_cast<double>(*sink.onset.onset());
    answer.first_audible_s = seconds_since(answer.start) + offset / audio.sample_rate;
  }
  answer.audio_samples += static_cast<int64_t>(audio.samples.size());
  answer.sample_rate = audio.sample_rate;
  if (sink.audio_out.empty()) return {};
  if (!sink.wav) {
    TUTTI_ASSIGN_OR_RETURN(sink.wav, WavWriter::create(sink.audio_out, audio.sample_rate));
  }
  return sink.wav->append(audio.samples);
}

Status take_output(const OutputMessage& message, Sink& sink) {
  const StageOutputDelta& delta = message.output;
  Answer& answer = sink.answer;
  if (!delta.token_ids.empty() && message.output_type == "text") {
    if (!answer.first_token_s) answer.first_token_s = seconds_since(answer.start);
    answer.text_tokens += static_cast<int64_t>(delta.token_ids.size());
  }
  if (!delta.text.empty()) {
    std::fwrite(delta.text.data(), 1, delta.text.size(), stdout);
    std::fflush(stdout);
    answer.text += delta.text;
  }
  return take_audio(delta.audio, sink);
}

// Runs until the terminal message.
Status collect(AsyncOmniEngine& engine, const std::string& id, const InterruptGuard& interrupt,
               Sink& sink) {
  bool& aborting = sink.answer.interrupted;
  Clock::time_point last_news = Clock::now();
  while (true) {
    TUTTI_ASSIGN_OR_RETURN(std::optional<EngineMessage> message, engine.try_get_output(0.05));
    if (interrupt.interrupted() && !aborting) {
      aborting = true;
      last_news = Clock::now();
      TUTTI_RETURN_IF_ERROR(engine.abort({id}));
    }
    if (!message) {
      if (aborting && seconds_since(last_news) > kAbortTimeout_s) return {};
      if (seconds_since(last_news) > kStallTimeout_s) {
        return deadline_exceeded(
            fmt::format("the engine has been silent for {:.0f} seconds", kStallTimeout_s));
      }
      continue;
    }
    last_news = Clock::now();
    if (const auto* error = std::get_if<ErrorMessage>(&*message)) return error->error;
    if (const auto* output = std::get_if<OutputMessage>(&*message)) {
      TUTTI_RETURN_IF_ERROR(take_output(*output, sink));
      if (output->finished) return {};
    }
  }
}

}  // namespace

Result<std::unique_ptr<AsyncOmniEngine>> load_engine(const CommonFlags& flags) {
  LoadingBar bar(flags.quiet);
  EngineOptions options = flags.engine;
  options.on_progress = [&bar](const std::string& stage, double fraction, const std::string& what) {
    bar.update(stage, fraction, what);
  };
  auto engine = AsyncOmniEngine::create(flags.model, options);
  bar.finish(engine.ok());
  return engine;
}

Status check_sampling(const CommonFlags& flags) {
  SamplingParams probe;
  for (const SamplingFlags* sampling : {&flags.text_sampling, &flags.speech_sampling}) {
    sampling->apply(probe);
    TUTTI_RETURN_IF_ERROR(probe.validate());
  }
  return {};
}

Result<std::vector<int32_t>> wanted_stages(const AsyncOmniEngine& engine,
                                           const std::vector<std::string>& wanted) {
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

AddRequest make_request(const AsyncOmniEngine& engine, const CommonFlags& flags, std::string id,
                        Prompt prompt, std::vector<int32_t> stages) {
  AddRequest request;
  request.request_id = std::move(id);
  request.prompt = std::move(prompt);
  request.voice = flags.voice;
  request.priority = flags.priority;
  request.timeout_s = flags.timeout_s;
  if (const size_t equals = flags.lora.find('='); equals != std::string::npos) {
    request.lora_request = LoraRequest{.lora_name = flags.lora.substr(0, equals),
                                       .lora_path = flags.lora.substr(equals + 1)};
  }
  request.final_output_stage_ids = std::move(stages);
  request.sampling_params_list = engine.default_sampling_params_list();
  for (size_t i = 0; i < request.sampling_params_list.size(); ++i) {
    SamplingParams& params = request.sampling_params_list[i];
    (i == 0 ? flags.text_sampling : flags.speech_sampling).apply(params);
    if (flags.seed) params.seed = flags.seed;
  }
  return request;
}

Result<Answer> answer(AsyncOmniEngine& engine, AddRequest request, const std::string& audio_out,
                      const InterruptGuard& interrupt) {
  Sink sink{audio_out, nullptr, {}};
  sink.answer.start = Clock::now();
  const std::string id = request.request_id;
  TUTTI_RETURN_IF_ERROR(engine.add_request(std::move(request)));
  const Status collected = collect(engine, id, interrupt, sink);
  const std::string& text = sink.answer.text;
  if (!text.empty() && !text.ends_with('\n')) std::fputs("\n", stdout);
  std::fflush(stdout);
  TUTTI_RETURN_IF_ERROR(collected);
  if (sink.wav) TUTTI_RETURN_IF_ERROR(sink.wav->finish());
  return std::move(sink.answer);
}

void print_figures(const Answer& answer, const std::string& audio_out) {
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
    if (!audio_out.empty()) line += fmt::format(", in {}", audio_out);
  }
  std::fputs((line + "\n").c_str(), stderr);
}

}  // namespace tutti::cli
