// The flags of `tutti bench serve`.
#pragma once

#include <CLI/CLI.hpp>

#include "apps/tutti/command.h"

namespace tutti::cli {

// `flags` must live until the command line has been read.
void add_bench(CLI::App& app, BenchServeFlags& flags);

}  // namespace tutti::cli
