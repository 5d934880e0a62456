#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>

#include "tutti/asio.h"

using namespace tutti;

// Runs in the caller's event loop and never blocks it.
static boost::asio::awaitable<void> answer(AsyncOmniEngine& engine, AddRequest request,
                                           bool& finished) {
  const Status status = co_await engine_add_request(engine, std::move(request));
  while (status.ok() && !finished) {
    const Result<EngineMessage> message = co_await engine_next_output(engine);
    if (!message) co_return;
    const auto* output = std::get_if<OutputMessage>(&*message);
    if (output == nullptr) continue;
    std::fputs(output->output.text.c_str(), stdout);
    finished = output->finished;
  }
}

int main(int argc, char** argv) {
  auto engine = AsyncOmniEngine::create(argc > 1 ? argv[1] : "nano");
  if (!engine) return std::fprintf(stderr, "%s\n", engine.error().message().c_str()), 1;
  AddRequest request;
  request.request_id = "hello";
  request.prompt = ChatPrompt{.messages = {ChatMessage::text("user", "Hello!")}};
  request.final_stage_id = 0;
  bool finished = false;
  boost::asio::io_context loop;
  boost::asio::co_spawn(loop, answer(**engine, std::move(request), finished),
                        boost::asio::detached);
  loop.run();
  std::puts("");
  return finished ? 0 : 1;
}
