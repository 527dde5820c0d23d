#!/usr/bin/env bash
# Print the path of an installed Python of one of the versions named, the first one that there is; exit 1
# when there is none. Usage: python.sh 3.13 3.12
set -euo pipefail
cd "$(dirname "$0")/.."
UV=$(scripts/uv.sh)

for version in "$@"; do
  if "$UV" python find --quiet --system --no-project --no-python-downloads "$version" 2>/dev/null; then exit 0; fi
done
# pyenv's shims stand on PATH and refuse versions that are not switched on; the versions themselves work.
for version in "$@"; do
  for candidate in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
    if "$candidate" -c '' 2>/dev/null; then
      echo "$candidate"
      exit 0
    fi
  done
done
exit 1
