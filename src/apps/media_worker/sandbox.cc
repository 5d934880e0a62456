#include "apps/media_worker/sandbox.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/sanitizers.h"

namespace tutti::media_worker {

namespace {

// The three streams and one for the decoders' own use.
constexpr rlim_t kMostDescriptors = 4;

bool limit(__rlimit_resource resource, rlim_t most) {
  const rlimit value = {most, most};
  return setrlimit(resource, &value) == 0;
}

}  // namespace

bool enter_sandbox(const WorkerRequest& request) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Without privileges a network of one's own comes with a user namespace of one's own. Where
  // neither is allowed, what remains is that no protocol is ever opened (see container.cc).
  if (unshare(CLONE_NEWNET) != 0) unshare(CLONE_NEWUSER | CLONE_NEWNET);
  bool ok = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
  ok = limit(RLIMIT_CORE, 0) && ok;
  ok = limit(RLIMIT_FSIZE, 0) && ok;
  ok = limit(RLIMIT_NOFILE, kMostDescriptors) && ok;
  ok = limit(RLIMIT_CPU, static_cast<rlim_t>(request.max_cpu_seconds)) && ok;
  if (!TUTTI_SANITIZED) ok = limit(RLIMIT_AS, static_cast<rlim_t>(request.max_memory_bytes)) && ok;
  return ok;
}

}  // namespace tutti::media_worker
