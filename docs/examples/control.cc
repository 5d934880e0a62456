#include <cstdio>
#include <future>

#include "tutti/async_omni_engine.h"

using namespace tutti;

int main(int argc, char** argv) {
  auto engine = AsyncOmniEngine::create(argc > 1 ? argv[1] : "nano");
  if (!engine) return std::fprintf(stderr, "%s\n", engine.error().message().c_str()), 1;

  // On every live replica, in parallel and beside the requests.
  const auto pongs = (*engine)->collective_rpc("ping", 10);
  if (!pongs) return std::fprintf(stderr, "%s\n", pongs.error().message().c_str()), 1;
  for (const RpcResult& result : *pongs) {
    std::printf("stage %d, replica %d: %s\n", result.stage_id, result.replica_id,
                result.result_json.c_str());
  }

  AddRequest request;
  request.request_id = "story";
  request.prompt = ChatPrompt{.messages = {ChatMessage::text("user", "Tell me a story.")}};
  if (!(*engine)->add_request(request).ok()) return 1;
  // Completes when every stage has let go; the memory is free then.
  std::promise<size_t> aborted;
  (*engine)->abort_async({"story"}, [&](const Result<std::vector<AbortResult>>& ended) {
    aborted.set_value(ended ? ended->size() : 0);
  });
  std::printf("%zu request aborted\n", aborted.get_future().get());

  const OmniStats stats = (*engine)->stats();
  std::printf("%lld accepted, %lld aborted, %lld live\n", static_cast<long long>(stats.accepted),
              static_cast<long long>(stats.aborted), static_cast<long long>(stats.live_requests));
  return stats.accepted == 1 && stats.live_requests == 0 ? 0 : 1;
}
