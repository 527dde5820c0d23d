#!/usr/bin/env bash
# Train on the abalone data on several hosts, each a group of processes on this machine; no Docker needed.
# Usage: demo.sh [HOSTS]
set -euo pipefail
cd "$(dirname "$0")/.."
readonly HOSTS=${1:-2} OUT=out/demo DATA=examples/abalone

rm -rf "$OUT"
set -x
.venv/bin/treering local --hosts "$HOSTS" \
  --channel train=$DATA/train --channel validation=$DATA/validation \
  --content-type text/libsvm --hp-file $DATA/hyperparameters.json --output $OUT
{ set +x; } 2>/dev/null

rmse=$(sed -n 's/.*validation-rmse:\([0-9.]*\).*/\1/p' $OUT/logs/*.log | tail -n 1)
cat <<END

model            $OUT/model/xgboost-model
validation rmse  ${rmse:?the log names no validation-rmse} rings
next             make demo HOSTS=$((HOSTS + 1))    the same job on another number of hosts: the same model
END
