#!/usr/bin/env bash
# The main job on real input: one question, answered in text and speech.
set -euo pipefail
cd "$(dirname "$0")/.."
out=answer.wav
question="What is the capital of France?"
flags=()
if [[ ! -f models/nano/config.json ]]; then
  echo "      (without the bundled model the tests' checkpoint answers; its weights are random and so are its words)"
  flags=(--model tests/data/goldens/qwen3_omni_moe/checkpoint --max-tokens 60 --talker-max-tokens 60)
fi
echo "[3/3] asking: $question"
build/release/tutti generate "${flags[@]}" --text "$question" --seed 1 --audio-out "$out"
echo "done: the spoken answer is in $PWD/$out"
echo "next: build/release/tutti serve, and open http://localhost:8091/ to talk with it; or build/release/tutti chat"
