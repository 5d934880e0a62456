#!/usr/bin/env bash
# Runs all tests of one preset and ends with one line: N passed, N failed.
set -uo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
echo "[3/3] running the tests ($preset)"
log=build/$preset/Testing/tutti-tests.log
mkdir -p "$(dirname "$log")"
ctest --preset "$preset" --output-on-failure 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
total=$(sed -nE 's/.*tests failed out of ([0-9]+).*/\1/p' "$log" | tail -n 1)
failed=$(sed -nE 's/.* ([0-9]+) tests failed out of .*/\1/p' "$log" | tail -n 1)
total=${total:-0}
failed=${failed:-1}
echo "$((total - failed)) passed, $failed failed"
exit "$status"
