// Compares tokenizer and chat template with stored reference rows: tokenizer_<family>.json and
// chat_<family>.json of a directory, beside the checkpoints that they name.
// *Thread:* any.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "tutti/status.h"

namespace tutti::text {

// One reference file.
struct FrontendFile {
  std::string name;        // "tokenizer_qwen3_omni_moe.json"
  std::string checkpoint;  // the directory whose tokenizer and template were compared
  size_t rows = 0;
  size_t values = 0;  // compared values: ids, decoded texts, rendered texts
  size_t mismatches = 0;
  std::vector<std::string> messages;  // at most 10; one sentence each, with found and expected
};

struct FrontendReport {
  std::vector<FrontendFile> files;
  bool passed() const;
};

// Every row must be equal. An error when the directory holds no such file. A file that cannot be
// read or a checkpoint that cannot be loaded counts as a mismatch of its file.
Result<FrontendReport> check_frontend_text(const std::filesystem::path& dir);

}  // namespace tutti::text
