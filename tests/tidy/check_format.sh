#!/usr/bin/env bash
# Fails when a C++ file is not formatted as .clang-format says; prints the files.
set -euo pipefail
find include src tests bench fuzz -name '*.h' -o -name '*.cc' -o -name '*.cu' 2>/dev/null |
  xargs "${1:-clang-format-19}" --dry-run -Werror
