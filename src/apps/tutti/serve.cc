// `tutti serve`: the HTTP server over one engine, until Ctrl-C.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <map>

#include "apps/tutti/answer.h"
#include "apps/tutti/command.h"
#include "apps/tutti/interrupt.h"
#include "serve/server.h"

namespace tutti::cli {
namespace {

// "Qwen3-Omni" of "/models/Qwen3-Omni/": what clients call the model when nothing else is said.
std::string default_name(const std::string& model) {
  std::filesystem::path path(model);
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

// Values like "NAME=DIRECTORY" of a flag.
Result<std::map<std::string, std::string>> pairs(const char* flag, const char* shape,
                                                 const std::vector<std::string>& values) {
  std::map<std::string, std::string> out;
  for (const std::string& value : values) {
    const size_t equals = value.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == value.size()) {
      return invalid_argument(fmt::format("--{} has '{}'; it must be {}.", flag, value, shape))
          .with_param(flag);
    }
    out[value.substr(0, equals)] = value.substr(equals + 1);
  }
  return out;
}

Status check_directories(const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    std::error_code error;
    if (std::filesystem::is_directory(directory, error)) continue;
    return invalid_argument(
               fmt::format("--allowed-lora-path is '{}'; it must be a directory that exists.",
                           directory))
        .with_param("allowed-lora-path");
  }
  return {};
}

serve::ServerOptions server_options(const ServeFlags& flags) {
  serve::ServerOptions options;
  options.http.host = flags.host;
  options.http.port = flags.port;
  options.http.num_threads = flags.http_threads;
  options.http.max_connections = flags.max_connections;
  options.http.max_header_bytes = flags.max_header_kb << 10;
  options.http.max_body_bytes = flags.max_body_mb << 20;
  options.http.max_message_bytes = flags.max_message_mb << 20;
  options.http.max_unread_bytes = flags.max_unread_mb << 20;
  options.http.header_timeout_s = flags.header_timeout_s;
  options.http.body_timeout_s = flags.body_timeout_s;
  options.http.write_timeout_s = flags.write_timeout_s;
  options.http.keep_alive_timeout_s = flags.keep_alive_timeout_s;
  options.http.tls_cert_file = flags.tls_cert;
  options.http.tls_key_file = flags.tls_key;
  options.served_names = flags.served_names;
  if (options.served_names.empty()) options.served_names = {default_name(flags.model)};
  options.api_keys = flags.api_keys;
  options.adapter_directories = flags.allowed_lora_paths;
  options.cors_origins = flags.cors_origins;
  options.stream_grace_s = flags.stream_grace_s;
  options.realtime_window_s = flags.realtime_window_s;
  options.playground = !flags.no_playground;
  return options;
}

}  // namespace

int run_serve(const ServeFlags& flags) {
  const InterruptGuard interrupt;
  serve::ServerOptions options = server_options(flags);
  auto modules = pairs("lora-modules", "NAME=DIRECTORY", flags.lora_modules);
  if (!modules.ok()) return report_error(modules.error());
  for (const auto& [name, path] : *modules)
    options.adapters.push_back({.lora_name = name, .lora_path = path});
  auto aliases = pairs("voice-alias", "ALIAS=VOICE", flags.voice_aliases);
  if (!aliases.ok()) return report_error(aliases.error());
  options.voice_aliases = std::move(aliases).value();
  const Status directories = check_directories(flags.allowed_lora_paths);
  if (!directories.ok()) return report_error(directories);
  // Before the model is loaded, which may take long.
  const Status tls = serve::check_tls(options.http);
  if (!tls.ok()) return report_error(tls);
  auto engine = load_engine(flags);
  if (!engine.ok()) return report_error(engine.error());
  // Half of the engine's places are for requests that nobody has to wait for.
  options.most_early_turns = static_cast<size_t>((*engine)->stats().max_live_requests / 2);
  auto server = serve::OpenAiServer::start(**engine, std::move(options));
  if (!server.ok()) return report_error(server.error());
  const char* scheme = flags.tls_cert.empty() ? "http" : "https";
  const bool any = flags.host == "0.0.0.0" || flags.host == "::";
  std::printf("%s\n", fmt::format("{} answers at {}://{}:{}/", default_name(flags.model), scheme,
                                  any ? "localhost" : flags.host, (*server)->port())
                          .c_str());
  std::fflush(stdout);
  interrupt.wait();
  if (!flags.quiet) std::fputs("shutting down\n", stderr);
  (*server)->stop(flags.grace_s);
  return kExitOk;
}

}  // namespace tutti::cli
