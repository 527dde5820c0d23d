#!/usr/bin/env bash
# A Docker Engine for building and testing the image, on a machine where none runs.
#
#   docker_engine.sh start        use the engine that answers, else install and start one
#   docker_engine.sh env          print the variables that name it, for eval; nothing when not needed
#   docker_engine.sh stop         stop the engine that `start` started; images stay for the next time
#   docker_engine.sh run CMD…     run CMD with an engine, and stop it if it was started for CMD
#
# Everything of this engine lies in one folder, TREERING_ENGINE, beside any other engine's.
set -euo pipefail

readonly HOME_DIR=${TREERING_ENGINE:-/var/lib/treering-engine}
readonly SOCKET=$HOME_DIR/docker.sock
readonly PIDFILE=$HOME_DIR/dockerd.pid
readonly LOG=$HOME_DIR/setup.log
readonly BASE=debian:trixie-slim
readonly SUITE=trixie # the first Debian release that packages compose v2 and buildx

say() { echo "docker engine: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

# Run a command quietly; when it fails, show the end of what it said.
quietly() {
  "$@" >>"$LOG" 2>&1 && return
  tail -n 20 "$LOG" >&2
  fail "'$*' failed; all of its output is in $LOG"
}

answers() { docker version >/dev/null 2>&1; }
ours_answers() { [[ -S $SOCKET ]] && DOCKER_HOST=unix://$SOCKET answers; }
variables() { printf 'export DOCKER_HOST=%q DOCKER_CONFIG=%q\n' "unix://$SOCKET" "$HOME_DIR/config"; }

require_debian_root() {
  local hint="start Docker yourself, or run this as root on Debian"
  [[ $(id -u) -eq 0 ]] || fail "no engine answers, and only root can start one: $hint"
  command -v apt-get >/dev/null && grep -qs '^ID=debian$' /etc/os-release ||
    fail "no engine answers, and this script can install one on Debian only: $hint"
}

install_packages() {
  local wanted=(docker.io debootstrap iproute2 iptables ca-certificates) missing=() package
  if command -v dockerd docker debootstrap ip iptables >/dev/null; then return; fi
  say "installing it with apt"
  quietly apt-get update
  # Before Debian 13 the client is part of docker.io.
  if apt-cache show docker-cli >/dev/null 2>&1; then wanted+=(docker-cli); fi
  for package in "${wanted[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends "${missing[@]}"
}

# Print the address of the Debian archive that this machine's own apt uses.
archive() {
  local code site
  code=$(. /etc/os-release && echo "$VERSION_CODENAME")
  site=$(apt-get indextargets --format '$(SITE)' 'Origin: Debian' "Codename: $code" 'Component: main' | head -n 1)
  [[ -n $site ]] || fail "apt knows no Debian archive; run 'apt-get update' first"
  echo "$site"
}

# Fetch the client's compose and buildx plugins from the release that has them, leaving apt's own lists alone.
install_plugins() {
  local plugins=$HOME_DIR/config/cli-plugins work=$HOME_DIR/plugins
  [[ -x $plugins/docker-compose && -x $plugins/docker-buildx ]] && return
  say "fetching compose and buildx"
  rm -rf "$work" && mkdir -p "$work/lists/partial" "$plugins"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(archive) $SUITE main" >"$work/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache="
    -o APT::Sandbox::User=root)
  quietly apt-get "${options[@]}" update
  (cd "$work" && quietly apt-get "${options[@]}" download docker-compose docker-buildx)
  local package
  for package in "$work"/*.deb; do quietly dpkg -x "$package" "$work/root"; done
  find "$work/root" -path '*/cli-plugins/docker-*' -exec cp {} "$plugins/" \;
  rm -rf "$work"
}

start_daemon() {
  say "starting dockerd in $HOME_DIR"
  rm -f "$PIDFILE"
  setsid dockerd --data-root "$HOME_DIR/data" --exec-root "$HOME_DIR/exec" --pidfile "$PIDFILE" \
    -H "unix://$SOCKET" >"$HOME_DIR/dockerd.log" 2>&1 </dev/null &
  local daemon=$! deadline=$((SECONDS + 60))
  until ours_answers; do
    if ! kill -0 "$daemon" 2>/dev/null || ((SECONDS > deadline)); then
      tail -n 20 "$HOME_DIR/dockerd.log" >&2
      fail "dockerd did not come up; see $HOME_DIR/dockerd.log"
    fi
    sleep 0.2
  done
}

# The base image: pulled from a registry as usual; where none can be reached, made from Debian's archive.
provide_base() {
  docker image inspect "$BASE" >/dev/null 2>&1 && return
  say "pulling $BASE"
  timeout 120 docker pull -q "$BASE" >>"$LOG" 2>&1 && return
  say "no registry gave it: making $BASE from Debian's archive"
  local root=$HOME_DIR/base
  rm -rf "$root"
  quietly debootstrap --variant=minbase "$SUITE" "$root" "$(archive)"
  # What the published slim image leaves out as well, so that sizes compare.
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,info,locale,man}/*
  tar -C "$root" -c . | quietly docker import - "$BASE"
  rm -rf "$root"
}

start() {
  if answers; then return; fi
  if ! ours_answers; then
    require_debian_root
    mkdir -p "$HOME_DIR/config"
    : >"$LOG"
    install_packages
    if answers; then return; fi # the package may have started the system's own
    install_plugins
    start_daemon
  fi
  eval "$(variables)"
  provide_base
}

stop() {
  [[ -f $PIDFILE ]] || return 0
  local daemon
  daemon=$(<"$PIDFILE")
  kill "$daemon" 2>/dev/null || true
  while kill -0 "$daemon" 2>/dev/null; do sleep 0.2; done
  rm -f "$PIDFILE" "$SOCKET"
}

run() {
  if ! answers && ! ours_answers; then trap stop EXIT; fi
  start
  "$@"
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  env) if ! answers && ours_answers; then variables; fi ;;
  run) shift && run "$@" ;;
  *) fail "say one of start, stop, env, run COMMAND" ;;
esac
