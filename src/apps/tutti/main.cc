// The `tutti` program: flags to commands.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <limits>

#include "apps/tutti/bench_flags.h"
#include "apps/tutti/command.h"
#include "apps/tutti/flag_checks.h"
#include "backend/cpu/isa.h"
#include "base/log.h"
#include "base/strings.h"
#include "stages/engine_config.h"

namespace tutti::cli {
namespace {

void add_sampling_flags(CLI::App& command, const std::string& prefix, const std::string& what,
                        SamplingFlags& flags) {
  const auto name = [&](const char* flag) { return "--" + prefix + flag; };
  const std::string group = "Sampling of " + what;
  const auto add = [&](const char* flag, const char* key, auto& value, const char* help) {
    command.add_option(name(flag), value, help)->check(sampling_number(key))->group(group);
  };
  add("temperature", "temperature", flags.temperature, "0 is greedy");
  add("top-p", "top_p", flags.top_p, "In (0, 1]");
  add("top-k", "top_k", flags.top_k, "0 keeps all");
  add("min-p", "min_p", flags.min_p, "In [0, 1]");
  add("repetition-penalty", "repetition_penalty", flags.repetition_penalty, "Above 0; 1 is off");
  add("max-tokens", "max_tokens", flags.max_tokens, "Most tokens to produce");
}

// A flag that sets an option by its deploy key; the schema checks its value.
struct EngineFlag {
  const char* flag;
  const char* key;
  const char* help;
};

constexpr EngineFlag kEngineFlags[] = {
    {"--tokenizer", "tokenizer", "Directory of the tokenizer; default: the model's own"},
    {"--dtype", "dtype", "Weights and KV cache: auto, float32 or bfloat16"},
    {"--load-format", "load_format", "auto, or dummy: random weights from the config"},
    {"--threads", "num_threads", "CPU threads; 0: all cores"},
    {"--max-model-len", "max_model_len", "Tokens of context"},
    {"--max-num-seqs", "max_num_seqs", "Requests that a stage runs at once"},
    {"--max-num-batched-tokens", "max_num_batched_tokens", "Tokens of one step"},
    {"--kv-cache-bytes", "kv_cache_memory_bytes", "KV cache of each stage that has one"},
    {"--mm-cache-bytes", "mm_cache_bytes", "Cached encoder outputs of media; 0: none"},
    {"--block-size", "block_size", "Tokens of a KV block"},
    {"--enable-prefix-caching", "enable_prefix_caching", "true or false"},
    {"--async-chunk", "async_chunk", "true: chunks stream between stages; false: whole results"},
    {"--device-memory", "device_memory_bytes", "Memory that stages may take; 0: what is left"},
    {"--init-timeout", "init_timeout", "Seconds until all stages are ready"},
    {"--stage-init-timeout", "stage_init_timeout", "Seconds until one stage is ready"},
    {"--request-queue-size", "request_queue_size", "Requests that wait for their turn"},
    {"--output-queue-size", "output_queue_size", "Messages that wait for a reader"},
    {"--max-live-requests", "max_live_requests", "Requests in progress; 0: by max_num_seqs"},
    {"--max-sessions", "max_sessions", "Resumable requests; 0: four times max_live_requests"},
    {"--request-timeout", "request_timeout_s", "Seconds that a request may take; 0: no limit"},
    {"--max-tokens-per-request", "max_tokens_per_request", "Of output; 0: no limit"},
    {"--max-audio", "max_audio_s", "Seconds of speech per request; 0: no limit"},
    {"--max-pending-updates", "max_pending_updates", "Segments of one request that wait"},
    {"--max-retries", "max_retries", "Of a request whose replica died"},
    {"--replica-wait", "replica_wait_s", "Seconds to wait for a replica to come back"},
    {"--max-loras", "max_loras", "Adapters loaded at once"},
    {"--max-lora-rank", "max_lora_rank", "Largest rank of an adapter"},
};

// Flags of every command that runs an engine.
void add_engine_flags(CLI::App& command, EngineOptions& options) {
  const std::string group = "Engine";
  for (const EngineFlag& flag : kEngineFlags) {
    const auto set = [&options, flag](const std::string& text) {
      const Status status = set_engine_option(options, flag.key, text, flag.flag);
      if (!status.ok()) throw CLI::ValidationError(flag.flag, status.message());
    };
    command.add_option_function<std::string>(flag.flag, set, flag.help)->group(group);
  }
  command
      .add_flag("--worker-processes", options.worker_processes,
                "Every replica of every stage in a process of its own")
      ->group(group);
  const auto whole_results = [&options] {
    options.async_chunk = false;
    options.option_origins["async_chunk"] = "--no-async-chunk";
  };
  command
      .add_flag_callback("--no-async-chunk", whole_results,
                         "Hand whole results from stage to stage instead of chunks")
      ->group(group);
  command.add_option("--deploy-config", options.deploy_config, "Deploy file (docs/deploy.md)")
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
      .add_option("--stage-overrides", options.stage_overrides,
                  "STAGE.KEY=VALUE or {\"STAGE\": {\"KEY\": VALUE}}; may be given again")
      ->allow_extra_args(false)
      ->group(group);
}

void add_config(CLI::App& app, ConfigFlags& flags) {
  CLI::App& command = *app.add_subcommand(
      "config", "Print the configuration that a model would run with, and the memory it takes");
  command.add_option("model", flags.model, "Directory in Hugging Face layout, or a bundled model")
      ->capture_default_str();
  add_engine_flags(command, flags.engine);
}

void add_common_flags(CLI::App& command, CommonFlags& flags) {
  command
      .add_option("--model", flags.model, "Directory in Hugging Face layout, or a bundled model")
      ->capture_default_str();
  command.add_option("--system", flags.system, "System message");
  command.add_option("--voice", flags.voice, "Name of a voice of the model");
  command.add_flag("--use-audio-in-video", flags.use_audio_in_video,
                   "Hear the clips, too: their sound is laid between their frames");
  command.add_option("--lora", flags.lora, "A LoRA adapter (PEFT directory) for the answer")
      ->type_name("NAME=DIRECTORY")
      ->check([](const std::string& text) -> std::string {
        const size_t equals = text.find('=');
        const bool both = equals != std::string::npos && equals > 0 && equals + 1 < text.size();
        return both ? "" : "'" + text + "' is not NAME=DIRECTORY";
      });
  command.add_option("--seed", flags.seed, "Same seed, same answer")
      ->check(integer_between(0, std::numeric_limits<int64_t>::max()));
  command.add_option("--priority", flags.priority, "Smaller is sooner, in every stage")
      ->check(integer_between(std::numeric_limits<int32_t>::min(),
                              std::numeric_limits<int32_t>::max()));
  command.add_option("--timeout", flags.timeout_s, "Give up after so many seconds")
      ->check(seconds_above_0());
  command.add_option("--trace-out", flags.engine.trace_out,
                     "Write a timeline in Chrome trace format to this file");
  command.add_option("--stop", flags.text_sampling.stop, "Stop string; may be given again");
  command.add_flag("--ignore-eos", flags.text_sampling.ignore_eos, "Go on after the end token");
  command.add_flag("--quiet", flags.quiet, "Only the answer; no progress and no figures");
  add_sampling_flags(command, "", "the text", flags.text_sampling);
  add_sampling_flags(command, "talker-", "the speech", flags.speech_sampling);
  add_engine_flags(command, flags.engine);
}

void add_generate(CLI::App& app, GenerateFlags& flags) {
  CLI::App& command = *app.add_subcommand("generate", "Answer one prompt with text and speech");
  command.add_option("--text", flags.text, "What to say to the model")->required();
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
  command.add_flag("--raw", flags.raw, "Take --text as it is, without the chat template");
  command.add_option("--audio-out", flags.audio_out, "Write the spoken answer to this WAV file");
  command
      .add_option("--modalities", flags.modalities,
                  "text, audio or both; default: text, and audio with --audio-out")
      ->delimiter(',')
      ->check(CLI::IsMember({"text", "audio"}));
  add_common_flags(command, flags);
}

void add_chat(CLI::App& app, ChatFlags& flags) {
  CLI::App& command = *app.add_subcommand("chat", "Talk with a model in the terminal");
  command.add_option("--out-dir", flags.out_dir, "Directory for the answers' WAV files")
      ->capture_default_str();
  command.add_flag("--no-speech", flags.no_speech, "Answer in text only");
  command.add_flag("--no-play", flags.no_play, "Write the WAV files, but play none");
  add_common_flags(command, flags);
}

void add_serve(CLI::App& app, ServeFlags& flags) {
  CLI::App& command =
      *app.add_subcommand("serve", "Answer OpenAI clients over HTTP, and show the playground");
  command.add_option("MODEL", flags.model, "Directory in Hugging Face layout, or a bundled model")
      ->capture_default_str();
  const std::string group = "Server";
  command.add_option("--host", flags.host, "Address to listen on; 0.0.0.0: all")
      ->capture_default_str()
      ->group(group);
  command.add_option("--port", flags.port, "0: any free one")
      ->check(integer_between(0, 65535))
      ->capture_default_str()
      ->group(group);
  command.add_option("--served-model-name", flags.served_names, "What clients may call the model")
      ->delimiter(',')
      ->group(group);
  command.add_option("--api-key", flags.api_keys, "Clients need one of these; may be given again")
      ->group(group);
  command.add_option("--cors-origin", flags.cors_origins, "Origins of pages that may call; *: all")
      ->delimiter(',')
      ->group(group);
  command.add_option("--tls-cert", flags.tls_cert, "PEM file with the certificate chain")
      ->group(group);
  command.add_option("--tls-key", flags.tls_key, "PEM file with its key")->group(group);
  const auto number = [&](const char* name, auto& value, const char* help, auto low, auto high) {
    FlagCheck check;
    if constexpr (std::is_integral_v<decltype(low)>) {
      check = integer_between(low, high);
    } else {
      check = number_between(low, high);
    }
    command.add_option(name, value, help)->check(check)->capture_default_str()->group(group);
  };
  number("--http-threads", flags.http_threads, "Threads for connections", 1, 64);
  number("--max-connections", flags.max_connections, "Connections at once", 1, 1 << 20);
  number("--max-header-kb", flags.max_header_kb, "Largest request head in KiB", 1, 1024);
  number("--max-body-mb", flags.max_body_mb, "Largest request body in MiB", 1, 4096);
  number("--max-message-mb", flags.max_message_mb, "Largest WebSocket message in MiB", 1, 1024);
  number("--max-unread-mb", flags.max_unread_mb, "What a slow reader may leave unread in MiB", 1,
         4096);
  number("--header-timeout", flags.header_timeout_s, "Seconds for a request's head", 0.1, 3600.0);
  number("--body-timeout", flags.body_timeout_s, "Seconds for a request's body", 0.1, 86400.0);
  number("--write-timeout", flags.write_timeout_s, "Seconds for a client to take anything", 0.1,
         86400.0);
  number("--keep-alive-timeout", flags.keep_alive_timeout_s, "Seconds between requests", 0.1,
         86400.0);
  number("--stream-grace", flags.stream_grace_s, "Seconds that a resumable stream waits", 0.1,
         3600.0);
  number("--realtime-window", flags.realtime_window_s,
         "Seconds of a long spoken turn that are taken in at once; 0: all at its end", 0.0, 60.0);
  number("--grace", flags.grace_s, "Seconds that live requests get at the end", 0.0, 3600.0);
  command
      .add_option("--voice-alias", flags.voice_aliases,
                  "ALIAS=VOICE: another name of a voice, like alloy=Hugo; may be given again")
      ->delimiter(',')
      ->group(group);
  command
      .add_option("--lora-modules", flags.lora_modules,
                  "NAME=DIRECTORY: LoRA adapters that clients may ask for as models")
      ->delimiter(',')
      ->group(group);
  command
      .add_option("--allowed-lora-path", flags.allowed_lora_paths,
                  "A directory below which clients may load adapters from; may be given again")
      ->group(group);
  command.add_flag("--no-playground", flags.no_playground, "Serve no page")->group(group);
  command.add_flag("--quiet", flags.quiet, "No progress");
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
  const CLI::App* command = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const std::string flag = word.substr(0, word.find('='));
    std::map<std::string, const CLI::App*> commands;
    for (const CLI::App* sub : command->get_subcommands({})) commands[sub->get_name()] = sub;
    if (!commands.empty() && !word.starts_with("-")) {
      if (const auto found = commands.find(word); found != commands.end()) {
        command = found->second;
        continue;
      }
      std::vector<std::string> names;
      for (const auto& [name, sub] : commands) names.push_back(name);
      const std::string near = nearest(word, names);
      return fmt::format("unknown command '{}'; {}known are: {}", word,
                         near.empty() ? "" : fmt::format("did you mean '{}'? ", near), join(names));
    }
    if (!flag.starts_with("--") || flag.size() == 2) continue;
    const std::vector<std::string> names = known_flags(*command);
    if (std::find(names.begin(), names.end(), flag) != names.end()) continue;
    const std::string near = nearest(flag, names);
    return fmt::format("unknown flag '{}'; {}", flag,
                       near.empty() ? fmt::format("see 'tutti {} --help'", command->get_name())
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
  ConfigFlags config;
  add_config(app, config);
  ChatFlags chat;
  add_chat(app, chat);
  ServeFlags serve;
  add_serve(app, serve);
  BenchServeFlags bench_serve;
  add_bench(app, bench_serve);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    return report_usage_error(usage_sentence(app, error, argc, argv));
  }
  if (app.got_subcommand("bench")) return run_bench_serve(bench_serve);
  if (const auto isa = cpu::select_cpu_isa(); !isa.ok()) {
    return report_usage_error(isa.error().message());
  }
  if (app.got_subcommand("config")) return run_config(config);
  if (app.got_subcommand("serve")) return run_serve(serve);
  return app.got_subcommand("chat") ? run_chat(chat) : run_generate(generate);
}

}  // namespace
}  // namespace tutti::cli

int main(int argc, char** argv) { return tutti::cli::run(argc, argv); }
