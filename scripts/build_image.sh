#!/usr/bin/env bash
# Build the image and load it into the engine. Usage: build_image.sh NAME [ARGUMENT OF DOCKER BUILDX BUILD…]
# XGBOOST (cpu or gpu) and XGBOOST_VERSION go to the Dockerfile when they are set.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly NAME=$1
shift

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' container/treering/__init__.py)
revision=$(git describe --always --abbrev=40 --dirty 2>/dev/null || echo unknown)
# A machine behind its own certificate authority names it for its tools in one of these.
authority=${PIP_CERT:-${SSL_CERT_FILE:-${REQUESTS_CA_BUNDLE:-}}}

arguments=(--build-arg "VERSION=${version:?container/treering/__init__.py has no __version__}"
  --build-arg "REVISION=$revision")
for name in XGBOOST XGBOOST_VERSION; do
  if [[ -n ${!name:-} ]]; then arguments+=(--build-arg "$name=${!name}"); fi
done
if [[ -f $authority ]]; then arguments+=(--secret "id=ca,src=$authority"); fi

# SageMaker refuses an image index, which a provenance record would make of it.
docker buildx build --load --provenance=false --progress=plain --tag "$NAME" "${arguments[@]}" "$@" .
