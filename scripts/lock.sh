#!/usr/bin/env bash
# Write the lock files from pyproject.toml: names, versions and hashes for every platform, no addresses.
# Arguments go to uv: `lock.sh --upgrade` takes newer versions, without it a lock changes as little as it can.
set -euo pipefail
cd "$(dirname "$0")/.."
UV=$(scripts/uv.sh)

compile() { # FILE ARGUMENTS…
  local file=$1
  shift
  echo "requirements-$file.lock"
  "$UV" pip compile --quiet --universal --python-version 3.12 --generate-hashes \
    --custom-compile-command 'make lock' --output-file "requirements-$file.lock" "$@"
}

# What builds our own wheel: hatchling, and editables for the developer's install.
printf 'hatchling\neditables\n' | compile build - "$@"
compile cpu pyproject.toml --extra cpu "$@"
# The rest follows the CPU image's versions, so that tests and the GPU image run the same code.
compile gpu pyproject.toml --extra gpu --constraint requirements-cpu.lock "$@"
compile dev pyproject.toml requirements-build.lock --extra cpu --group dev --constraint requirements-cpu.lock "$@"
# The two SageMaker Python SDKs, each in an environment of its own: what their users install today.
echo 'sagemaker[local]<3' | compile sdk-v2 - "$@"
echo 'sagemaker>=3' | compile sdk-v3 - "$@"
# The XGBoost of the image by which AWS serves models today.
echo 'xgboost-cpu==3.2.0' | compile serving - "$@"
# What the benchmarks of whole jobs compare with: plain XGBoost, AWS's way of reading, LightGBM.
printf 'lightgbm\npandas\npyarrow\nscikit-learn\nxgboost-cpu\n' | compile bench - --constraint requirements-cpu.lock "$@"
# What writes the image's bill of materials.
echo 'cyclonedx-python-lib[json-validation]' | compile sbom - "$@"

if grep -n '://' requirements-*.lock; then
  echo "lock.sh: a lock file names an address; it has to stay free of them" >&2
  exit 1
fi
