// The `tutti-worker` program: one replica of one stage in a process of its own. The engine starts
// it (stages/process_stage_client.h) and it ends with the engine.
#include "orchestrator/stage_loading.h"

int main(int argc, char** argv) {
  return tutti::worker_main(argc, argv, tutti::make_worker_loader());
}
