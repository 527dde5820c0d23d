#!/usr/bin/env bash
# Print the path of a uv: the one on PATH, else a pinned one, which is installed into .tools when it is not
# there yet. Any python3 from 3.9 on will do for that, with venv or with pip alone.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VERSION=0.13.9
readonly PIP=(-m pip install --quiet --quiet --disable-pip-version-check --no-warn-script-location)

say() { echo "uv: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

if command -v uv; then exit 0; fi
for installed in .tools/bin/uv .tools/lib/bin/uv; do
  if [[ $("$installed" --version 2>/dev/null) == "uv $VERSION"* ]]; then
    echo "$PWD/$installed"
    exit 0
  fi
done

command -v python3 >/dev/null || fail "there is no python3; install Python 3.9 or newer, or uv"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
  fail "$(python3 --version 2>&1) is too old to install uv; put Python 3.9 or newer first on PATH, or install uv"
say "installing version $VERSION into .tools"
rm -rf .tools
if python3 -m venv .tools >/dev/null 2>&1; then
  .tools/bin/python "${PIP[@]}" "uv==$VERSION" >&2
  echo "$PWD/.tools/bin/uv"
elif rm -rf .tools && python3 -m pip --version >/dev/null 2>&1; then # Debian splits venv's pip off
  python3 "${PIP[@]}" --target .tools/lib "uv==$VERSION" >&2
  echo "$PWD/.tools/lib/bin/uv"
else
  fail "python3 has neither venv nor pip (on Debian: apt install python3-venv); install one of them, or uv"
fi
