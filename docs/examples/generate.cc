#include <cstdio>

#include "tutti/omni.h"

int main(int argc, char** argv) {
  auto omni = tutti::Omni::create(argc > 1 ? argv[1] : "nano");
  if (!omni) return std::fprintf(stderr, "%s\n", omni.error().message().c_str()), 1;
  tutti::AddRequest request;
  request.prompt = tutti::ChatPrompt{.messages = {tutti::ChatMessage::text("user", "Hello!")}};
  auto answer = (*omni)->generate(std::move(request));
  if (!answer) return std::fprintf(stderr, "%s\n", answer.error().message().c_str()), 1;
  std::printf("%s (%zu samples at %d Hz)\n", answer->text.c_str(), answer->audio.samples.size(),
              answer->audio.sample_rate);
  return answer->text.empty() || answer->audio.samples.empty();
}
