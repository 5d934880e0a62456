// Any bytes as config.json: an error, or a pipeline whose stages can be asked for.
#include "fuzz/scratch_file.h"
#include "models/pipeline.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const tutti::fuzzing::ScratchDir scratch;
  scratch.write("config.json", data, size);
  tutti::LoadOptions options;
  options.model_dir = scratch.path();
  options.dummy_weights = true;
  const auto pipeline = tutti::open_pipeline(options);
  if (pipeline.ok()) (void)(*pipeline)->stages().size();
  return 0;
}
