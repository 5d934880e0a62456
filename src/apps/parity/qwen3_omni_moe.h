// Checks of the Qwen3-Omni-MoE family against a golden directory.
#pragma once

#include <filesystem>
#include <string>

#include "apps/parity/report.h"

namespace tutti::parity {

struct ParityOptions {
  std::filesystem::path dir;    // checkpoint/ and one folder per case
  std::filesystem::path media;  // media files that the cases name
  std::string only_case;        // empty: all
  int num_threads = 0;
};

// Runs the cases; misses are counted in the report. An error means that nothing could be run.
Status check_qwen3_omni_moe(const ParityOptions& options, Report& report);

}  // namespace tutti::parity
