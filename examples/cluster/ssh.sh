#!/bin/bash
# One video model on machines that are reached by ssh, one process on each, from any machine:
#   examples/cluster/ssh.sh FIRST SECOND … -- --data DATA --logdir RUN
# Each has this folder at the same path, with the same installation, or sees it on a shared disk.
# Ctrl-C stops all of them at the same update: the run is saved.

set -euo pipefail
hosts=() pids=() code=0
while [ "$1" != -- ]; do hosts+=("$1"); shift; done
shift
first="${hosts[0]#*@}:${PORT:-7777}"
for index in "${!hosts[@]}"; do
  ssh -o BatchMode=yes "${hosts[$index]}" "cd $(printf %q "$PWD") && exec ${PYTHON:-python} \
    pretrain_video.py --hosts $first,$index,${#hosts[@]}$(printf ' %q' "$@")" &
  pids+=($!)
done
trap 'ssh -o BatchMode=yes "${hosts[0]}" "pkill -TERM -f -- [-]-hosts.$first,0,"' INT TERM
for pid in "${pids[@]}"; do wait "$pid" || wait "$pid" || code=1; done
exit $code
