#!/usr/bin/env bash
# detects_misses.sh TUTTI_PARITY FAMILY_DIR: tutti-parity must fail, and say where, when the network
# differs from the one that made the goldens, and must say what is wrong with a broken directory.
set -euo pipefail
parity=$1
goldens=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$goldens/checkpoint" "$goldens/text_eos" "$goldens/code2wav" "$work"

expect() {  # expect CODE PATTERN ARGUMENT...
  local code=$1 pattern=$2 status=0
  shift 2
  "$parity" "$@" >"$work/log" 2>&1 || status=$?
  if [[ $status -ne $code ]] || ! grep -q -- "$pattern" "$work/log"; then
    echo "expected exit code $code and '$pattern', found $status and:"
    cat "$work/log"
    exit 1
  fi
}

expect 0 ', 0 failed' "$work"
expect 1 "has no case 'nothing'" "$work" --case nothing
expect 2 'FAMILY_DIR or --frontend' --dtype bf16
expect 1 "cannot be read" "$work/missing"

# Another epsilon: hidden states and logits move.
sed -i 's/"rms_norm_eps": 1e-06/"rms_norm_eps": 1e-02/' "$work/checkpoint/config.json"
expect 1 'FAIL *logits' "$work" --case text_eos
expect 0 'pass *wave.one_shot' "$work" --case code2wav
cp "$goldens/checkpoint/config.json" "$work/checkpoint"

sed -i 's/"sliding_window": 12/"sliding_window": 11/' "$work/checkpoint/config.json"
expect 1 'FAIL *pre_transformer' "$work" --case code2wav
cp "$goldens/checkpoint/config.json" "$work/checkpoint"

# Another voice: the talker's prompt differs, the thinker does not.
sed -i 's/"ethan": 318/"ethan": 319/' "$work/checkpoint/config.json"
expect 1 'FAIL *talker.inputs_embeds' "$work" --case text_eos
expect 1 'pass *greedy_ids' "$work" --case text_eos
expect 1 'FAIL *talker.inputs_embeds' "$work" --case text_eos --dtype bf16
