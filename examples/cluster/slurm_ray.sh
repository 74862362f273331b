#!/bin/bash
# An agent whose environments step on three machines, by Ray: sbatch examples/cluster/slurm_ray.sh
#SBATCH --job-name=clockwork-ray
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300    # five minutes before the time is over
#SBATCH --output=%x.log
set -euo pipefail
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0   # within a cluster that no one else reaches
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes%%$'\n'*}
export RAY_ADDRESS=$head:6379
srun --overlap --nodes=1 --ntasks=1 -w "$head" \
  ray start --head --port=6379 --num-cpus=4 --block &
until ray status > /dev/null 2>&1; do sleep 2; done
srun --overlap --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks-per-node=1 --exclude="$head" \
  ray start --address="$RAY_ADDRESS" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
until [ "$(ray status 2> /dev/null | grep -c '1 node_')" -ge "$SLURM_JOB_NUM_NODES" ]; do sleep 2; done
python train_agent.py --env minerl_navigate --env.workers ray --env.num-envs 36 \
  --logdir runs/navigate "$@" &
run=$!
trap 'kill -TERM $run' TERM
wait $run || wait $run
