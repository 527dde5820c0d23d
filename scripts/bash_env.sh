# Read by every bash of the image that runs a script, before it does.
#
# For a job with a script, SDK v3 replaces the image's entry point by `bash -c '… /opt/ml/input/data/sm_drivers/
# sm_train.sh'`, which runs the user's script once a host, alone, and passes no SIGTERM on. Such a job is ours to
# run: `train` reads what the SDK's driver would have, and becomes PID 1.
case "${BASH_EXECUTION_STRING:-}" in
  */sm_drivers/sm_train.sh) exec /opt/treering/bin/train ;;
esac
