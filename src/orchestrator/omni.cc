#include "tutti/omni.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

namespace tutti {
namespace {

void take(OmniResult& result, OutputMessage message) {
  StageOutputDelta& delta = message.output;
  result.stage_metrics[message.stage_id] = message.metrics;
  if (message.output_type == "audio") {
    auto& samples = result.audio.samples;
    samples.insert(samples.end(), delta.audio.samples.begin(), delta.audio.samples.end());
    if (delta.audio.sample_rate != 0) result.audio.sample_rate = delta.audio.sample_rate;
  } else {
    result.text += delta.text;
    result.token_ids.insert(result.token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
  }
  // The text says how the answer ended, unless something ended the whole request.
  const bool speaks_for_all = message.output_type == "text" ||
                              result.finish_reason == FinishReason::kNone ||
                              delta.finish_reason == FinishReason::kAbort;
  if (delta.finish_reason != FinishReason::kNone && speaks_for_all) {
    result.finish_reason = delta.finish_reason;
  }
}

class OmniImpl final : public Omni {
 public:
  explicit OmniImpl(std::unique_ptr<AsyncOmniEngine> engine) : engine_(std::move(engine)) {}

  AsyncOmniEngine& engine() override { return *engine_; }

  Result<OmniResult> generate(AddRequest request,
                              const std::function<bool(const OutputMessage&)>& on_delta) override {
    // Its own numbering never meets an id of a caller who uses engine() beside it.
    if (request.request_id.empty()) request.request_id = fmt::format("omni-{}", next_id_++);
    const std::string id = request.request_id;
    TUTTI_RETURN_IF_ERROR(engine_->add_request(std::move(request)));
    OmniResult result;
    result.stage_metrics.resize(static_cast<size_t>(engine_->num_stages()));
    bool aborting = false;
    for (;;) {
      TUTTI_ASSIGN_OR_RETURN(std::optional<EngineMessage> message, engine_->try_get_output(60));
      if (!message) continue;
      if (auto* error = std::get_if<ErrorMessage>(&*message)) {
        if (error->request_id == id || error->fatal) return std::move(error->error);
      } else if (auto* metrics = std::get_if<StageMetricsMessage>(&*message)) {
        if (metrics->request_id == id) result.stage_metrics[metrics->stage_id] = metrics->metrics;
      } else if (auto& output = std::get<OutputMessage>(*message); output.request_id == id) {
        if (!aborting && on_delta && !on_delta(output)) {
          aborting = true;
          TUTTI_RETURN_IF_ERROR(engine_->abort({id}));
        }
        const bool finished = output.finished;
        take(result, std::move(output));
        if (!finished) continue;
        if (aborting) result.finish_reason = FinishReason::kAbort;
        return result;
      }
    }
  }

 private:
  std::unique_ptr<AsyncOmniEngine> engine_;
  std::atomic<uint64_t> next_id_{1};
};

}  // namespace

Result<std::unique_ptr<Omni>> Omni::create(const std::string& model, EngineOptions options) {
  TUTTI_ASSIGN_OR_RETURN(std::unique_ptr<AsyncOmniEngine> engine,
                         AsyncOmniEngine::create(model, std::move(options)));
  return std::unique_ptr<Omni>(std::make_unique<OmniImpl>(std::move(engine)));
}

}  // namespace tutti
