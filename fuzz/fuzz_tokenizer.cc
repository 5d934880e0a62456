// Any bytes as tokenizer.json: an error, or a tokenizer that encodes and decodes.
#include "fuzz/scratch_file.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const tutti::fuzzing::ScratchDir scratch;
  scratch.write("tokenizer.json", data, size);
  const auto tokenizer = tutti::text::Tokenizer::load(scratch.path());
  if (!tokenizer.ok()) return 0;
  const auto ids =
      (*tokenizer)->encode("Hello, w\xC3\xB6rld! <|im_start|> 123\n\n  \xF0\x9F\x99\x82");
  if (ids.ok()) (void)(*tokenizer)->decode(*ids);
  return 0;
}
