// Runs a program as a user would: arguments in, exit code and both streams out.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace tutti::testing {

struct ProcessResult {
  int exit_code = -1;  // 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

struct ProcessOptions {
  // What stdin holds; none: stdin is the test's own.
  std::optional<std::string> input = std::nullopt;
  // Sends SIGINT once stdout has this many bytes.
  std::optional<size_t> interrupt_after_bytes = std::nullopt;
  // Sends SIGINT after this; a program that has ended by then gets none.
  std::optional<std::chrono::seconds> interrupt_after = std::nullopt;
  // Killed after this; exit_code is then -1.
  std::chrono::seconds timeout{120};
};

ProcessResult run_process(const std::vector<std::string>& command,
                          const ProcessOptions& options = {});

}  // namespace tutti::testing
