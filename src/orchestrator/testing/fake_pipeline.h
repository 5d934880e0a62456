// FakePipeline: a Pipeline without networks, and engines built of FakeStageEngines: everything of
// AsyncOmniEngine runs but the models.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "orchestrator/engine_parts.h"
#include "stages/testing/fake_stage_engine.h"

namespace tutti::fake {

class FakePipeline final : public Pipeline {
 public:
  explicit FakePipeline(std::vector<StageSpec> specs) : specs_(std::move(specs)) {}

  const std::vector<StageSpec>& stages() const override { return specs_; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return nullptr; }
  const std::vector<std::string>& voices() const override { return voices_; }

  Result<StageInput> process_prompt(const Prompt& prompt,
                                    const PromptOptions& options) const override {
    StageInput input;
    if (const auto* tokens = std::get_if<TokensPrompt>(&prompt)) {
      input.payload.token_ids = tokens->token_ids;
    } else if (const auto* text = std::get_if<TextPrompt>(&prompt)) {
      if (text->text == "throw") throw std::runtime_error("tokenizer broke");
      input.payload.token_ids.assign(text->text.begin(), text->text.end());
    } else if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) {
      // "\n" closes the answer before, one letter a message, "+" for one that goes on with an open
      // one, ">" begins the answer.
      if (options.after_answer) input.payload.token_ids.push_back('\n');
      for (const ChatMessage& message : chat->messages) {
        const bool goes_on = options.in_message && &message == &chat->messages.front();
        input.payload.token_ids.push_back(goes_on ? '+' : message.role[0]);
      }
      if (chat->add_generation_prompt) input.payload.token_ids.push_back('>');
    }
    if (input.payload.token_ids.empty()) return invalid_argument("The prompt is empty.");
    return input;
  }
  Result<std::string> resolve_voice(const std::string& voice) const override {
    if (voice.empty() || voice == "Ana" || voice == "Ben") return voice.empty() ? "Ana" : voice;
    return invalid_argument("`voice` is '" + voice + "'; this model has: Ana, Ben.");
  }
  Result<std::unique_ptr<ArModel>> load_ar(int32_t, const LoadOptions&) const override {
    return unimplemented("A fake pipeline has no networks.");
  }
  Result<std::unique_ptr<GenerationModel>> load_generation(int32_t,
                                                           const LoadOptions&) const override {
    return unimplemented("A fake pipeline has no networks.");
  }

 private:
  const std::vector<StageSpec> specs_;
  const std::vector<std::string> voices_{"Ana", "Ben"};
};

// Parts of an engine over `specs`; stage `s` gets options[s] where given.
inline EngineParts fake_parts(std::vector<StageSpec> specs, std::vector<FakeOptions> options = {},
                              int64_t max_prompt_tokens = 0) {
  EngineParts parts;
  parts.model = "fake";
  options.resize(specs.size());
  for (size_t s = 0; s < specs.size(); ++s) {
    const bool entry = specs[s].sources.empty();
    parts.stages.push_back({.load = [s, entry, max_prompt_tokens,
                                     stage_options = options[s]](const ReportProgress& report) {
      report(0.5, "loading weights");
      LoadedStage loaded;
      loaded.engine =
          std::make_unique<FakeStageEngine>(static_cast<int32_t>(s), entry, stage_options);
      loaded.max_prompt_tokens = max_prompt_tokens;
      return Result<LoadedStage>(std::move(loaded));
    }});
  }
  parts.pipeline = std::make_shared<FakePipeline>(std::move(specs));
  return parts;
}

}  // namespace tutti::fake
