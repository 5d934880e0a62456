#include <cstdio>

#include "tutti/async_omni_engine.h"

using namespace tutti;

// Reads until the answer to segment `segment` is complete; false on an error.
static bool print_answer(AsyncOmniEngine& engine, int32_t segment) {
  while (true) {
    const auto message = engine.try_get_output(60);
    if (!message || !*message) return false;
    if (std::holds_alternative<ErrorMessage>(**message)) return false;
    const auto* output = std::get_if<OutputMessage>(&**message);
    if (output == nullptr || output->segment != segment) continue;
    std::fputs(output->output.text.c_str(), stdout);
    if (output->output.finish_reason != FinishReason::kNone) return std::puts(""), true;
  }
}

int main(int argc, char** argv) {
  auto engine = AsyncOmniEngine::create(argc > 1 ? argv[1] : "nano");
  if (!engine) return std::fprintf(stderr, "%s\n", engine.error().message().c_str()), 1;

  AddRequest begin;
  begin.request_id = "session";
  begin.prompt = ChatPrompt{.messages = {ChatMessage::text("user", "Hello!")}};
  begin.final_stage_id = 0;
  begin.resumable = true;
  if (!(*engine)->add_request(begin).ok() || !print_answer(**engine, 0)) return 1;

  // What was said so far is in the KV cache: only the new turn is computed.
  StreamingUpdate update;
  update.request_id = "session";
  update.prompt = ChatPrompt{.messages = {ChatMessage::text("user", "What is two plus three?")}};
  update.resumable = false;  // the last segment
  const Status status = (*engine)->add_streaming_update(update);
  if (!status.ok()) return std::fprintf(stderr, "%s\n", status.message().c_str()), 1;
  return print_answer(**engine, 1) ? 0 : 1;
}
