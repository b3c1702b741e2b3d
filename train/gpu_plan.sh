#!/usr/bin/env bash
# The first half hour of a GPU: train a recipe for a given time, then measure.
#
#   train/gpu_plan.sh RECIPE DATA OUTPUT [MINUTES_MATCHING MINUTES_PAINTING MINUTES_DECAY]
#
# RECIPE: a YAML file with the stages "matching" and "painter". DATA: the folder of its pictures.
# OUTPUT: gets the run's folder, its checkpoints included, and benchmark.txt. Stages end by the clock,
# not by steps: a stage gets SIGTERM, saves itself, and goes on for as many falling steps as fit into
# MINUTES_DECAY. Called again with the same OUTPUT it goes on where it was. EXTRA: more settings, such
# as EXTRA="--perceptual.source=vgg.safetensors --data.batch_size=4"; without a GPU it runs as well:
#
#   EXTRA="--data.batch_size=2 --system_options.crop=64" ON=cpu train/gpu_plan.sh \
#       train/configs/edge-to-face.yaml FOLDER out/plan 0.5 0.5 0.5
#
# No package is fetched: PYTHONPATH, or the environment, has them.
set -euo pipefail

recipe=$1 data=$2 output=$3
matching=${4:-4} painting=${5:-14} decay=${6:-2}
device=${ON:-cuda}
cd "$(dirname "$0")/.."
mkdir -p "$output"

settings=(--config "$recipe" --data.source="$data" --output.checkpoint_every=200 --output.keep=1)
if [ "$device" = cuda ]; then
    settings+=(--speed.mixed_precision=bf16 --data.batch_size=32 --data.workers=12)
else
    export ACCELERATE_USE_CPU=true
fi
read -ra extra <<< "${EXTRA:-}"
settings+=("${extra[@]}")

# Seconds of minutes that may be fractions.
seconds() { python3 -c "import sys; print(max(1, round(60 * float(sys.argv[1]))))" "$1"; }
# The step of the newest checkpoint of a stage, 0 without any.
reached() { find "$output/run/$1/checkpoints" -maxdepth 1 -name 'checkpoint-*' -printf '%f\n' 2>/dev/null |
    sed 's/[^0-9]//g' | sort -n | tail -1 | sed 's/^0*\(.\)/\1/' | grep . || echo 0; }

# stage NAME MINUTES [SETTING ...]: to the clock at full rates, then down to zero.
stage() {
    local name=$1 minutes=$2 before after steps
    shift 2
    [ -d "$output/run/$name/pipeline" ] && return
    local run=(python3 train/train.py "${settings[@]}" --output_dir="$output/run" --stage "$name"
        --resume latest "$@")
    before=$(reached "$name")
    timeout --signal=TERM "$(seconds "$minutes")" \
        "${run[@]}" --schedule.constant=1000000 --schedule.decay=1 || true
    after=$(reached "$name")
    steps=$(python3 -c "
import sys
done, minutes, decay = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
print(max(1, round(done * decay / minutes)))" $((after - before)) "$minutes" "$decay")
    "${run[@]}" --schedule.constant="$after" --schedule.decay="$steps"
}

stage matching "$matching"
stage painter "$painting" --system_options.freeze_correspondence=false

measured=(--device "$device" --sizes 256 --runs 3)
if [ "$device" = cuda ]; then
    measured+=(--compile)
    python3 -m train.benchmark "${settings[@]}" --system_options.crop=128 --precisions no bf16 --largest |
        tee "$output/training.txt"
fi
python3 -m cocosnet_hf.benchmark "${measured[@]}" | tee "$output/benchmark.txt"
