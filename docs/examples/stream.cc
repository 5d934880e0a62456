#include <cstdio>

#include "tutti/async_omni_engine.h"

using namespace tutti;

int main(int argc, char** argv) {
  auto engine = AsyncOmniEngine::create(argc > 1 ? argv[1] : "nano");
  if (!engine) return std::fprintf(stderr, "%s\n", engine.error().message().c_str()), 1;

  // Two requests at once: the first wants text and speech, the second text alone, and sooner.
  AddRequest first;
  first.request_id = "first";
  first.prompt = ChatPrompt{.messages = {ChatMessage::text("user", "Hello!")}};
  first.timeout_s = 120;
  AddRequest second;
  second.request_id = "second";
  second.prompt = ChatPrompt{.messages = {ChatMessage::text("user", "What is two plus three?")}};
  second.sampling_params_list = (*engine)->default_sampling_params_list();
  second.sampling_params_list[0].temperature = 0;
  second.final_stage_id = 0;
  second.priority = -1;
  for (const AddRequest& request : {first, second}) {
    const Status status = (*engine)->add_request(request);
    if (!status.ok()) return std::fprintf(stderr, "%s\n", status.message().c_str()), 1;
  }

  size_t samples = 0;
  for (int open = 2; open > 0;) {
    const auto message = (*engine)->try_get_output(60);
    if (!message) return std::fprintf(stderr, "%s\n", message.error().message().c_str()), 1;
    if (!*message) return std::fprintf(stderr, "nothing for a minute\n"), 1;
    if (const auto* error = std::get_if<ErrorMessage>(&**message)) {
      return std::fprintf(stderr, "%s\n", error->error.message().c_str()), 1;
    }
    const auto* output = std::get_if<OutputMessage>(&**message);
    if (output == nullptr) continue;  // a stage that is not final has ended: its metrics
    samples += output->output.audio.samples.size();
    if (!output->output.text.empty()) {
      std::printf("%s: %s\n", output->request_id.c_str(), output->output.text.c_str());
    }
    open -= output->finished;
  }
  std::printf("%zu samples\n", samples);
  return samples == 0;
}
