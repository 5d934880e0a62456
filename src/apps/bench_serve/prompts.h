// What the requests of a run say: a few built-in sentences, or a JSONL file.
//
// Thread: free functions, any thread.
#pragma once

#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tutti/status.h"

#include "apps/bench_serve/load_options.h"

namespace tutti::bench {

struct LoadPrompt {
  std::string text;
  boost::json::array messages;  // in place of text, for chats
  std::optional<int32_t> output_tokens;
  std::string sound;         // bytes of a sound file, said before the text
  std::string sound_format;  // "wav", "mp3": the file's ending
};

// Questions for chats, sentences for speech and completions. Enough of them, that not every request
// finds its prompt in the server's cache.
std::vector<LoadPrompt> builtin_prompts(Backend backend);

// One JSON object per line, as vLLM's custom dataset: `prompt` (a string) or `messages` (as chat
// completions take them), with `output_tokens` and `audio` (a file, relative to the dataset) where
// wanted. Blank lines are passed over. Errors name the file and the line.
Result<std::vector<LoadPrompt>> read_prompts(const std::string& path, Backend backend);

}  // namespace tutti::bench
