// The `tutti` program: flags to commands.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/tutti/command.h"
#include "backend/cpu/isa.h"
#include "base/log.h"
#include "base/strings.h"

namespace tutti::cli {
namespace {

void add_sampling_flags(CLI::App& command, const std::string& prefix, const std::string& what,
                        SamplingFlags& flags) {
  const auto name = [&](const char* flag) { return "--" + prefix + flag; };
  const std::string group = "Sampling of " + what;
  command.add_option(name("temperature"), flags.temperature, "0 is greedy")->group(group);
  command.add_option(name("top-p"), flags.top_p, "In (0, 1]")->group(group);
  command.add_option(name("top-k"), flags.top_k, "0 keeps all")->group(group);
  command.add_option(name("min-p"), flags.min_p, "In [0, 1]")->group(group);
  command.add_option(name("repetition-penalty"), flags.repetition_penalty, "Above 0; 1 is off")
      ->group(group);
  command.add_option(name("max-tokens"), flags.max_tokens, "Most tokens to produce")->group(group);
}

void add_engine_flags(CLI::App& command, EngineOptions& options) {
  const std::string group = "Engine";
  command.add_option("--dtype", options.dtype, "Weights and KV cache")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--load-format", options.load_format, "dummy: random weights from the config")
      ->check(CLI::IsMember({"auto", "dummy"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--threads", options.num_threads, "CPU threads; 0: all cores")
      ->check(CLI::Range(0, 1024))
      ->group(group);
  command.add_option("--max-model-len", options.max_model_len, "Tokens of context")
      ->check(CLI::PositiveNumber)
      ->group(group);
  command
      .add_option(
          "--allow-media-domains", options.allowed_media_domains,
          "Hosts (and their subdomains) that http(s):// URLs of media may name; default: none")
      ->delimiter(',')
      ->group(group);
  command
      .add_option("--allowed-media-path", options.allowed_media_path,
                  "Directory below which file:// URLs of media may lie; default: none")
      ->group(group);
  command
      .add_flag_callback(
          "--no-async-chunk", [&options] { options.async_chunk = false; },
          "Hand whole results from stage to stage instead of chunks")
      ->group(group);
}

void add_generate(CLI::App& app, GenerateFlags& flags) {
  CLI::App& command = *app.add_subcommand("generate", "Answer one prompt with text and speech");
  command
      .add_option("--model", flags.model, "Directory in Hugging Face layout, or a bundled model")
      ->capture_default_str();
  command.add_option("--text", flags.text, "What to say to the model")->required();
  command.add_option("--system", flags.system, "System message");
  const auto add_media = [&](const char* flag, MediaKind kind, const char* help) {
    const auto add = [&flags, kind](const std::string& file) {
      flags.media.push_back(MediaItem::file(kind, file));
    };
    // Each occurrence at once, so that the order among the flags is the order given.
    command.add_option_function<std::string>(flag, add, help)->trigger_on_parse();
  };
  add_media("--audio", MediaKind::kAudio,
            "A sound to hear before the text: a file or a URL; may be given again");
  add_media("--image", MediaKind::kImage,
            "A picture to see before the text: a file or a URL; may be given again");
  add_media("--video", MediaKind::kVideo,
            "A clip to see before the text: a file or a URL; may be given again");
  command.add_flag("--use-audio-in-video", flags.use_audio_in_video,
                   "Hear the clips, too: their sound is laid between their frames");
  command.add_flag("--raw", flags.raw, "Take --text as it is, without the chat template");
  command.add_option("--audio-out", flags.audio_out, "Write the spoken answer to this WAV file");
  command
      .add_option("--modalities", flags.modalities,
                  "text, audio or both; default: text, and audio with --audio-out")
      ->delimiter(',')
      ->check(CLI::IsMember({"text", "audio"}));
  command.add_option("--voice", flags.voice, "Name of a voice of the model");
  command.add_option("--seed", flags.seed, "Same seed, same answer");
  command.add_option("--stop", flags.text_sampling.stop, "Stop string; may be given again");
  command.add_flag("--ignore-eos", flags.text_sampling.ignore_eos, "Go on after the end token");
  command.add_flag("--quiet", flags.quiet, "Only the answer; no progress and no figures");
  add_sampling_flags(command, "", "the text", flags.text_sampling);
  add_sampling_flags(command, "talker-", "the speech", flags.speech_sampling);
  add_engine_flags(command, flags.engine);
}

std::vector<std::string> known_flags(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// CLI11's own sentences are good except for unknown words: those get the nearest known one.
std::string usage_sentence(const CLI::App& app, const CLI::ParseError& error, int argc,
                           char** argv) {
  const auto chosen = app.get_subcommands();
  const CLI::App& command = chosen.empty() ? app : *chosen.front();
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const std::string flag = word.substr(0, word.find('='));
    const bool first_word = i == 1 && !word.starts_with("-");
    if (first_word) {
      std::vector<std::string> names;
      for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
      if (std::find(names.begin(), names.end(), word) != names.end()) continue;
      const std::string near = nearest(word, names);
      return fmt::format("unknown command '{}'; {}known are: {}", word,
                         near.empty() ? "" : fmt::format("did you mean '{}'? ", near), join(names));
    }
    if (!flag.starts_with("--") || flag.size() == 2) continue;
    const std::vector<std::string> names = known_flags(command);
    if (std::find(names.begin(), names.end(), flag) != names.end()) continue;
    const std::string near = nearest(flag, names);
    return fmt::format("unknown flag '{}'; {}", flag,
                       near.empty() ? fmt::format("see 'tutti {} --help'", command.get_name())
                                    : fmt::format("did you mean '{}'?", near));
  }
  return error.what();
}

int run(int argc, char** argv) {
  init_logging();
  CLI::App app(
      "Tutti serves omni-modal models: text, images, audio and video in; text, speech and "
      "images out.",
      "tutti");
  app.set_version_flag("--version", "tutti " TUTTI_VERSION);
  app.require_subcommand(1);
  GenerateFlags generate;
  add_generate(app, generate);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    return report_usage_error(usage_sentence(app, error, argc, argv));
  }
  if (const auto isa = cpu::select_cpu_isa(); !isa.ok()) {
    return report_usage_error(isa.error().message());
  }
  return run_generate(generate);
}

}  // namespace
}  // namespace tutti::cli

int main(int argc, char** argv) { return tutti::cli::run(argc, argv); }
