#!/bin/bash
# All phases, side by side where they may be: data, codec codes and thinker, then talker and codec
# wave. With two GPUs, thinker and wave share the second one. The talker packs its data and compiles
# while the codes are still trained; wave learns from the talker's checkpoints in its second half.
#
#   train_all.sh WORK      WORK holds tokenizer/ and gets data/, checkpoints and logs
#
# PHASES lists the phases to run (default: all; what is left out must be in WORK already).
# UNTIL is the Unix time at which thinker, talker and wave end (default: in 1000 seconds), CODES the
# seconds of the codes. Sizes: SPEECH, TEXT, PICTURES. Further arguments of a command: DATA_ARGS,
# CODES_ARGS, WAVE_ARGS, TALKER_ARGS, THINKER_ARGS. Other places: FLITE (folder of libraries),
# LEXICON. A checkpoint of an earlier run goes on with e.g. TALKER_ARGS="--resume FILE".
set -u
cd "$(dirname "$0")" || exit 1
work=$1
python=${PYTHON:-python3}
lexicon="--lexicon ${LEXICON:-/usr/share/dict/scowl}"
flite=${FLITE:+--flite $FLITE}
common="--data $work/data --tokenizer $work/tokenizer"
speech=${SPEECH:-240000}
until="--until ${UNTIL:-$(($(date +%s) + 1000))}"
mkdir -p "$work/data"
cores=$(nproc)               # before OMP_NUM_THREADS, which nproc obeys
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
gpus=$($python -c 'import torch; print(torch.cuda.device_count())')
second=$((gpus > 1 ? 1 : 0))

wants() { [[ " ${PHASES:-data codes thinker talker wave} " == *" $1 "* ]]; }
background=()
# $1: GPU, $2: log, the rest: command
start() {
    CUDA_VISIBLE_DEVICES=$1 $python "${@:3}" > "$work/$2.log" 2>&1 &
    background+=($!)
}

# shellcheck disable=SC2086
if wants data; then
    ($python make_data.py --tokenizer "$work/tokenizer" $lexicon $flite --out "$work/data" \
        --speech "$speech" --text "${TEXT:-800000}" --pictures "${PICTURES:-60000}" \
        --procs $((cores * 7 / 8)) ${DATA_ARGS:-} || touch "$work/data/complete") \
        > "$work/data.log" 2>&1 &
fi
# shellcheck disable=SC2086
wants thinker && start $second thinker train_thinker.py $common --out "$work/thinker.pt" \
    $until ${THINKER_ARGS:-}
# shellcheck disable=SC2086
wants talker && start 0 talker train_talker.py $common $lexicon --codec "$work/codec.pt" \
    --out "$work/talker.pt" $until --held-out 60 --shards $((speech / 200)) ${TALKER_ARGS:-}
# shellcheck disable=SC2086
if wants codes; then
    CUDA_VISIBLE_DEVICES=0 $python train_codec.py codes $common --out "$work/codec.pt" \
        --seconds "${CODES:-400}" ${CODES_ARGS:-} > "$work/codes.log" 2>&1 || exit 1
fi
# shellcheck disable=SC2086
wants wave && start $second wave train_codec.py wave $common --codec "$work/codec.pt" \
    --out "$work/wave.pt" --shards 60 --talker "$work/talker.pt" $until ${WAVE_ARGS:-}
wait "${background[@]}"
touch "$work/trained"
