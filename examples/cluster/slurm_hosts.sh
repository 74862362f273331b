#!/bin/bash
# One video model on two machines, one process on each: sbatch examples/cluster/slurm_hosts.sh
#SBATCH --job-name=clockwork-hosts
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300      # to all of them, five minutes before the time is over: the run is saved
#SBATCH --output=%x.log
set -euo pipefail
# Where one dies all end, and the same sbatch goes on from the checkpoint, with any --nodes.
srun python pretrain_video.py --data moving_digits --data.folder data/moving_digits \
  --logdir runs/digits --hosts auto "$@"
