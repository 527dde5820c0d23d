#!/usr/bin/env bash
# Prepare .venv: Python 3.13 or 3.12, the hash-locked packages, and this project, editable. Quick when
# nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly STAMP=.venv/.setup-of

say() { echo "setup: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

# What .venv was made from; another answer than the stamp's means that it has to be made again.
recipe() { cat pyproject.toml requirements-dev.lock scripts/setup.sh; pwd; }

make_venv() {
  local python
  if .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 12), (3, 13)})' 2>/dev/null; then
    return
  fi
  if python=$(scripts/python.sh 3.13 3.12); then # what XGBoost's wheel and the image's lock support
    "$UV" venv --quiet --no-project --clear --python "$python" .venv
  else
    say "no Python 3.13 or 3.12 found, downloading one"
    "$UV" venv --quiet --no-project --clear --managed-python --python 3.13 .venv ||
      fail "there is no Python 3.13 or 3.12, and uv could not download one; install either, on PATH or in pyenv"
  fi
}

if [[ -x .venv/bin/python ]] && recipe | cmp -s - "$STAMP"; then exit 0; fi
UV=$(scripts/uv.sh)
say "preparing .venv"
make_venv
rm -f "$STAMP"
"$UV" pip sync --quiet --python .venv --compile-bytecode --require-hashes requirements-dev.lock
# The build backend stands in the lock, so nothing unlocked is fetched for building.
"$UV" pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
recipe >"$STAMP"
say "ready: $(.venv/bin/python --version) in .venv"
