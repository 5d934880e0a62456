// tutti-fake-worker: a worker process whose stage is a scripted fake; for tests. With --be-parent
// it is the parent of such a worker itself, and tells the worker's id on its descriptor.
#include "base/dual_queue.h"
#include "stages/process_stage_client.h"
#include "stages/testing/scripted_stage.h"

namespace tutti {
namespace {

Result<WorkerStage> load(const WorkerHello& hello, const WorkerProgressReport& report) {
  WorkerStage stage;
  stage.graph = fake::scripted_graph();
  TUTTI_ASSIGN_OR_RETURN(stage.engine, fake::scripted_engine(hello.stage, hello.load_spec, report));
  stage.max_prompt_tokens = 4711;
  return stage;
}

// Until it is killed.
[[noreturn]] void be_parent(const char* program) {
  DualQueue<int> loading(1);
  ProcessOptions options;
  options.program = program;
  options.load_spec = "progress gate=/nowhere/at/all";
  options.on_progress = [&](double, const std::string&) {
    loading.try_push(1);
    return true;
  };
  ProcessStageClient client(StageId(0), ReplicaId(0), [](StageEvent) {}, options);
  loading.pop(Deadline::never());
  const pid_t worker = client.process_id();
  (void)!::write(kChildDescriptor, &worker, sizeof worker);
  for (;;) pause();
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--be-parent") {
    // Not argv[0], which has no folder.
    tutti::be_parent(std::filesystem::read_symlink("/proc/self/exe").c_str());
  }
  if (std::getenv("TUTTI_FAKE_WORKER_SLEEPS")) pause();
  return tutti::worker_main(argc, argv, tutti::load);
}
