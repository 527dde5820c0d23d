#!/usr/bin/env bash
# Prepare an environment of one SageMaker Python SDK in .tools and print the path of its Python.
# Usage: sdk_env.sh v2|v3
#
# The two cannot share one, and neither belongs into .venv. Only tests and examples use them.
set -euo pipefail
exec "$(dirname "$0")/tool_env.sh" "sdk-${1:?say v2 or v3}"
