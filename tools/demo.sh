#!/usr/bin/env bash
# The main job on real input: one question, answered in text and speech.
set -euo pipefail
cd "$(dirname "$0")/.."
model=tests/data/goldens/qwen3_omni_moe/checkpoint
out=answer.wav
question="Which train crosses the old bridge in the morning?"
echo "[3/3] asking: $question"
echo "      (the checkpoint of the tests has random weights: the words and sounds mean nothing, the path is the real one)"
build/release/tutti generate --model "$model" --text "$question" --max-tokens 60 --talker-max-tokens 60 --seed 1 \
  --audio-out "$out"
echo "done: the spoken answer is in $PWD/$out"
