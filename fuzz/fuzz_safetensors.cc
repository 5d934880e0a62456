// Any bytes as a .safetensors file: an error or a file whose every tensor lies inside it.
#include "fuzz/scratch_file.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const tutti::fuzzing::ScratchDir scratch;
  const auto file = tutti::SafetensorsFile::open(scratch.write("model.safetensors", data, size));
  if (!file.ok()) return 0;
  unsigned sum = 0;
  for (const auto& [name, entry] : (*file)->entries()) {
    const std::byte* bytes = (*file)->bytes(entry);
    for (size_t i = 0; i < entry.end - entry.begin; ++i) sum += static_cast<unsigned>(bytes[i]);
  }
  // Keeps the reads: they are the test.
  asm volatile("" : : "r"(sum));
  return 0;
}
