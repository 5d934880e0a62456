#!/usr/bin/env bash
# Configures and builds one preset, or some of its targets: tools/build.sh [release|dev|asan-ubsan|tsan|fuzz] [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true
echo "[2/3] building ($preset) in build/$preset"
cmake --preset "$preset" >"/tmp/tutti-configure.$$" 2>&1 || { cat "/tmp/tutti-configure.$$"; rm -f "/tmp/tutti-configure.$$"; exit 1; }
rm -f "/tmp/tutti-configure.$$"
cmake --build --preset "$preset" ${1:+--target "$@"}
