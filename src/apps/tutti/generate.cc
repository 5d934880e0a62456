// `tutti generate`: one prompt through the whole engine; text to stdout while it is produced,
// speech to a WAV file.
#include <fmt/format.h>

#include <cstdio>

#include "apps/tutti/answer.h"
#include "apps/tutti/command.h"
#include "apps/tutti/interrupt.h"
#include "apps/tutti/output_path.h"

namespace tutti::cli {

namespace {

Prompt prompt_of(const GenerateFlags& flags) {
  if (flags.raw) return TextPrompt{flags.text};
  ChatPrompt chat;
  if (!flags.system.empty()) chat.messages.push_back(ChatMessage::text("system", flags.system));
  ChatMessage user;
  user.role = "user";
  for (const MediaItem& item : flags.media) user.content.push_back({"", item});
  user.content.push_back({flags.text, std::nullopt});
  chat.messages.push_back(std::move(user));
  chat.use_audio_in_video = flags.use_audio_in_video;
  return chat;
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
  if (const Status status = check_sampling(flags); !status.ok()) return report_error(status);
  std::vector<std::string> wanted = flags.modalities;
  if (wanted.empty()) {
    wanted = flags.audio_out.empty() ? std::vector<std::string>{"text"}
                                     : std::vector<std::string>{"text", "audio"};
  }
  if (!flags.audio_out.empty() &&
      std::find(wanted.begin(), wanted.end(), "audio") == wanted.end()) {
    return report_usage_error("--audio-out needs audio among --modalities; found only text");
  }
  if (const Status status = check_output_path(flags.audio_out); !status.ok()) {
    return report_error(status);
  }
  auto engine = load_engine(flags);
  if (!engine.ok()) return report_error(engine.error());
  const InterruptGuard interrupt;
  auto stages = wanted_stages(**engine, wanted);
  if (!stages.ok()) return report_error(stages.error());
  const auto made = answer(
      **engine, make_request(**engine, flags, "generate", prompt_of(flags), std::move(*stages)),
      flags.audio_out, interrupt);
  if (!made.ok()) return report_error(made.error());
  if (!flags.quiet) print_figures(*made, flags.audio_out);
  return made->interrupted ? kExitInterrupted : kExitOk;
}

}  // namespace tutti::cli
