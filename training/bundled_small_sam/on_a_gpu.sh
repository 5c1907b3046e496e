#!/bin/bash
# Trains the bundled model on a GPU for some minutes, again and again with the same command until it is finished, then
# scores it on PAIRS (200) unseen pairs of synthetic images of each kind.
#
#     bash training/bundled_small_sam/on_a_gpu.sh FOLDER [MINUTES] [further options of adaptsam.pretrain.sam_pretraining]
#
# Needs PyTorch, torchvision, safetensors, segment-anything and platformdirs; nothing else of AdaptSAM's dependencies.
# On another machine it goes on from the files in FOLDER.
set -eo pipefail
folder=${1:?give a folder}
minutes=${2:-8.5}
[ $# -ge 2 ] && shift 2 || shift 1
cd "$(dirname "$0")/../.."
export PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
model=$folder/adaptsam_small.safetensors
cores=$(nproc)
workers=$((cores > 3 ? cores - 2 : 1))
mkdir -p "$folder"
python3 -m adaptsam.pretrain.sam_pretraining --recipe gpu --output "$model" --minutes "$minutes" --workers $workers "$@" \
    2>&1 | tee -a "$folder/log"
if [ -f "$model" ]; then
    python3 Testing/tools/experiments/synthetic_scores.py --checkpoint "$model" --pairs "${PAIRS:-200}" --output "$folder/scores.jsonl"
fi
ls -l "$folder"
