// `tutti serve`: the HTTP server over one engine, until Ctrl-C.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

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

serve::ServerOptions server_options(const ServeFlags& flags) {
  serve::ServerOptions options;
  options.http.host = flags.host;
  options.http.port = flags.port;
  options.http.num_threads = flags.http_threads;
  options.http.max_body_bytes = flags.max_body_mb << 20;
  options.http.tls_cert_file = flags.tls_cert;
  options.http.tls_key_file = flags.tls_key;
  options.served_names = flags.served_names;
  if (options.served_names.empty()) options.served_names = {default_name(flags.model)};
  options.api_keys = flags.api_keys;
  options.cors_origins = flags.cors_origins;
  options.playground = !flags.no_playground;
  return options;
}

}  // namespace

int run_serve(const ServeFlags& flags) {
  const InterruptGuard interrupt;
  auto engine = load_engine(flags);
  if (!engine.ok()) return report_error(engine.error());
  auto server = serve::OpenAiServer::start(**engine, server_options(flags));
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
