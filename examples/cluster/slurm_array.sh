#!/bin/bash
# One agent per seed, as an array of jobs: sbatch examples/cluster/slurm_array.sh
#SBATCH --job-name=clockwork-seeds
#SBATCH --array=0-4
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300    # five minutes before the time is over
#SBATCH --output=%x-%a.log
set -euo pipefail
# A run takes SIGTERM: it saves, and the same sbatch goes on with it. bash hands it on while it waits.
python train_agent.py --env dmc:walker_walk --seed "$SLURM_ARRAY_TASK_ID" \
  --logdir "runs/walker/seed_$SLURM_ARRAY_TASK_ID" "$@" &
trap 'kill -TERM $!' TERM
wait $! || wait $!
