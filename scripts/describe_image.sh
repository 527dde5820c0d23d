#!/usr/bin/env bash
# Write a bill of materials (CycloneDX) and the third-party notices of an image. Usage: describe_image.sh IMAGE FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
readonly IMAGE=$1 FOLDER=$2
python=$(scripts/tool_env.sh sbom)
docker run --rm -i --network none "$IMAGE" python - <scripts/inventory.py |
  "$python" scripts/describe_image.py "$IMAGE" "$FOLDER" "requirements-${XGBOOST:-cpu}.lock"
