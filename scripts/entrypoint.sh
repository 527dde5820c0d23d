#!/bin/bash
# The image's entry point: `train`, or no word at all, trains; any other command runs as it is. Either way
# exec leaves the command as PID 1, where SageMaker's SIGTERM arrives.
if [[ $# -eq 0 ]]; then set -- train; fi
# By its full path: the user's own PATH, or another package's `train`, must not change what trains.
if [[ $1 == train ]]; then set -- /opt/treering/bin/train "${@:2}"; fi
exec "$@"
