// Server: the OpenAI-compatible HTTP server over one engine.
//
// Thread: create, stop by the owner. Ownership: borrows the engine, owns everything else.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tutti/async_omni_engine.h"

#include "serve/http_server.h"

namespace tutti::serve {

struct ServerOptions {
  HttpServerOptions http;
  std::vector<std::string> served_names;  // of the model; empty: the model as given
  std::vector<std::string> api_keys;
  std::vector<std::string> cors_origins;
  std::map<std::string, std::string> voice_aliases;  // other names of voices
  std::vector<LoraRequest> adapters;                 // that clients may ask for as models
  std::vector<std::string> adapter_directories;      // below which they may load further ones
  double stream_grace_s = 30;  // how long a resumable stream waits for its client
  // A person's long turn is taken in by windows of this length while he speaks, and the
  // conversation when he begins; 0: everything at the turn's end.
  double realtime_window_s = 8;
  size_t most_early_turns = 32;  // that are taken in at once; further ones are at their end
  bool playground = true;
};

class OpenAiServer {
 public:
  static Result<std::unique_ptr<OpenAiServer>> start(AsyncOmniEngine& engine,
                                                     ServerOptions options);
  virtual ~OpenAiServer() = default;
  virtual uint16_t port() const = 0;
  // "GET /v1/models/{*}" and so on.
  virtual std::vector<std::string> routes() const = 0;
  // Refuses new requests, lets live ones end for `grace_s`, then ends them with an error, closes
  // every connection and shuts the engine down.
  virtual void stop(double grace_s) = 0;
};

}  // namespace tutti::serve
