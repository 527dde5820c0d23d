#!/usr/bin/env bash
# Prepare an environment of its own in .tools from requirements-NAME.lock, and print the path of its Python.
# Usage: tool_env.sh NAME
set -euo pipefail
cd "$(dirname "$0")/.."
readonly NAME=$1
readonly LOCK=requirements-$NAME.lock VENV=.tools/$NAME
readonly STAMP=$VENV/.setup-of VERSION=3.12 # the newest Python that SageMaker SDK v2 supports

# What the environment was made from; another answer than the stamp's means that it has to be made again.
recipe() { cat "$LOCK" scripts/tool_env.sh; pwd; }

if ! recipe | cmp -s - "$STAMP"; then
  UV=$(scripts/uv.sh)
  echo "$NAME: preparing $VENV" >&2
  source=(--managed-python --python $VERSION)
  if python=$(scripts/python.sh $VERSION); then source=(--python "$python"); fi
  "$UV" venv --quiet --no-project --clear "${source[@]}" "$VENV"
  "$UV" pip sync --quiet --python "$VENV" --require-hashes "$LOCK"
  recipe >"$STAMP"
fi
echo "$PWD/$VENV/bin/python"
