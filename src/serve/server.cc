#include "serve/server.h"

#include <chrono>
#include <cmath>

#include "serve/api_error.h"
#include "serve/api_key.h"
#include "serve/chat_completions.h"
#include "serve/completions.h"
#include "serve/playground.h"
#include "serve/realtime.h"
#include "serve/responses.h"
#include "serve/router.h"
#include "serve/services.h"
#include "serve/speech.h"
#include "serve/system_routes.h"
#include "serve/transcriptions.h"

namespace tutti::serve {
namespace {

class ServerImpl final : public OpenAiServer {
 public:
  ServerImpl(AsyncOmniEngine& engine, ServerOptions options)
      : options_(std::move(options)),
        engine_(engine),
        model_(engine, options_.served_names),
        metrics_(model_),
        streams_(std::chrono::milliseconds(std::llround(1000 * options_.stream_grace_s))),
        gateway_(engine, options_.most_early_turns),
        services_{gateway_, model_,       metrics_,
                  streams_, transcripts_, std::llround(1000 * options_.realtime_window_s)} {
    model_.adapters().allow(options_.adapter_directories);
    for (const LoraRequest& adapter : options_.adapters)
      model_.adapters().add(adapter.lora_name, adapter.lora_path);
    router_.set_api_keys(options_.api_keys);
    router_.set_origins({.cors_origins = options_.cors_origins,
                         .tls = !options_.http.tls_cert_file.empty(),
                         .host = options_.http.host});
    add_routes();
  }
  ~ServerImpl() override { stop(0); }

  Status open() {
    TUTTI_RETURN_IF_ERROR(model_.set_voice_aliases(options_.voice_aliases));
    TUTTI_ASSIGN_OR_RETURN(http_, HttpServer::start(router_, options_.http));
    return {};
  }
  uint16_t port() const override { return http_->port(); }
  std::vector<std::string> routes() const override { return router_.routes(); }

  void stop(double grace_s) override {
    if (!http_) return;
    if (!gateway_.drain(grace_s)) gateway_.fail_all(shutting_down());
    engine_.shutdown();
    http_->stop(/*grace_s=*/1);
    http_.reset();
  }

 private:
  void add_routes() {
    const auto post = [&](const char* path, auto handler) {
      router_.add("POST", path, [this, handler](HttpRequest request, HttpReplyPtr reply) {
        handler(services_, std::move(request), std::move(reply));
      });
    };
    post("/v1/chat/completions", handle_chat_completions);
    post("/v1/completions", handle_completions);
    post("/v1/audio/speech", handle_speech);
    router_.add(
        "POST", "/v1/audio/transcriptions",
        [this](HttpRequest request, HttpReplyPtr reply) {
          handle_transcriptions(services_, std::move(request), std::move(reply));
        },
        Router::Access::kKey, Router::Body::kForm);
    router_.add("GET", "/v1/audio/voices", [this](HttpRequest request, HttpReplyPtr reply) {
      handle_voices(services_, std::move(request), std::move(reply));
    });
    router_.add("POST", "/v1/responses", [this](HttpRequest request, HttpReplyPtr reply) {
      handle_responses(services_, responses_, std::move(request), std::move(reply));
    });
    router_.add("GET", "/v1/responses/{}", [this](HttpRequest request, HttpReplyPtr reply) {
      handle_get_response(responses_, std::move(request), std::move(reply));
    });
    router_.add("DELETE", "/v1/responses/{}", [this](HttpRequest request, HttpReplyPtr reply) {
      handle_delete_response(responses_, std::move(request), std::move(reply));
    });
    // Where a stream that lost its connection goes on, for clients that cannot POST again.
    router_.add("GET", "/v1/streams", [this](HttpRequest request, HttpReplyPtr reply) {
      const Status status = streams_.resume(std::string(request.header("last-event-id")),
                                            std::string(api_key_of(request)), reply);
      if (!status.ok()) reply->send(error_response(status));
    });
    router_.add_websocket("/v1/realtime", realtime_acceptor(services_));
    add_system_routes(router_, services_);
    add_description_route(router_);
    if (options_.playground) add_playground_routes(router_);
  }

  const ServerOptions options_;
  AsyncOmniEngine& engine_;
  ModelInfo model_;
  Metrics metrics_;
  StreamRegistry streams_;
  Transcripts transcripts_;
  ResponseStore responses_;
  Gateway gateway_;
  const Services services_;
  Router router_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace

Result<std::unique_ptr<OpenAiServer>> OpenAiServer::start(AsyncOmniEngine& engine,
                                                          ServerOptions options) {
  if (options.served_names.empty()) options.served_names = {engine.model()};
  auto server = std::make_unique<ServerImpl>(engine, std::move(options));
  TUTTI_RETURN_IF_ERROR(server->open());
  return std::unique_ptr<OpenAiServer>(std::move(server));
}

}  // namespace tutti::serve
