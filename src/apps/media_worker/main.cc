// The `tutti-media` program: decodes one container from standard input to standard output, apart
// from the engine, so that a decoder's crash costs one request. The engine starts it; see
// media/worker_protocol.h.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "apps/media_worker/job.h"
#include "apps/media_worker/output.h"
#include "apps/media_worker/sandbox.h"

namespace tutti::media_worker {
namespace {

int start() {
  WorkerRequest request;
  struct stat info = {};
  if (fstat(STDIN_FILENO, &info) != 0 || !S_ISREG(info.st_mode) ||
      pread(STDIN_FILENO, &request, sizeof request, 0) != sizeof request || !is_usable(request)) {
    std::fputs("tutti-media is started by the engine and takes no other input\n", stderr);
    return 2;
  }
  if (!enter_sandbox(request)) fail("the decoder's limits could not be set");
  av_log_set_level(AV_LOG_QUIET);
  run_job(request, {static_cast<int64_t>(sizeof request), info.st_size, 0});
  return 0;
}

}  // namespace
}  // namespace tutti::media_worker

int main() { return tutti::media_worker::start(); }
