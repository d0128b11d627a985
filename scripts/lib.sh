# shellcheck shell=bash disable=SC2034 # what is set here is used by others
# What the scripts of this directory share. Source it; it changes nothing by itself.
#
#   source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
#   gantry_env        # a `dagger` that works, after scripts/up

! declare -F gantry_env >/dev/null || return 0

# A command that fails inside $(…) ends the script like any other.
shopt -s inherit_errexit

GANTRY_SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
GANTRY_ROOT=$(dirname "$GANTRY_SCRIPTS")

# Everything that is slow to make and safe to delete.
GANTRY_CACHE=${GANTRY_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/gantry}
GANTRY_LOGS=$GANTRY_CACHE/log
# What is true only until the next reboot: process ids and the lock.
GANTRY_RUN=/run/gantry

GANTRY_DAGGER_VERSION=v0.19.10
GANTRY_RUNNER_HOST=unix:///run/dagger/engine.sock
# The registry as programs of this machine see it. Containers of the engine reach
# it at $GANTRY_REGISTRY_IN_CONTAINERS.
GANTRY_REGISTRY=127.0.0.1:5000
GANTRY_REGISTRY_IN_CONTAINERS=10.87.0.1:5000
# What scripts/engine/place left: while this directory is there, the Dagger in
# /usr/local/bin is ours.
GANTRY_OURS=/usr/local/share/dagger/gantry

# The time that goes into everything made here, so that it is made the same twice.
GANTRY_EPOCH=1767225600 # 2026-01-01

# --- Messages -------------------------------------------------------------

log() { printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# elapsed SECONDS_AT_START prints the time since then, as 1m05s.
elapsed() {
  local s=$((SECONDS - $1))
  if ((s < 60)); then printf '%ds' "$s"; else printf '%dm%02ds' $((s / 60)) $((s % 60)); fi
}

# step NAME ESTIMATE COMMAND… runs COMMAND with its output in a log file. It says
# what runs if that takes longer than a moment, and how long it took. ESTIMATE is
# for a person ("4 min").
step() {
  local name=$1 estimate=$2 start=$SECONDS file notice status=0
  shift 2
  file=$GANTRY_LOGS/${name//[^a-zA-Z0-9]/-}.log
  mkdir -p "$GANTRY_LOGS"
  (sleep 1 >/dev/null 2>&1 9>&- && log "  … $name (about $estimate)") &
  notice=$!
  "$@" >"$file" 2>&1 </dev/null || status=$?
  kill "$notice" 2>/dev/null || true
  wait "$notice" 2>/dev/null || true
  if ((status)); then
    log "  ✗ $name failed after $(elapsed "$start"); the end of $file:"
    tail -n 15 "$file" | sed 's/^/      /' >&2
    return "$status"
  fi
  ((SECONDS - start < 2)) || log "  ✓ $name: $(elapsed "$start")"
}

# retry COMMAND… runs COMMAND up to three times, for what depends on a network.
retry() {
  local try
  for try in 1 2 3; do
    "$@" && return 0
    ((try < 3)) || return 1
    warn "failed, trying again: $*"
    sleep $((try * 3))
  done
}

# --- What is made, and made only once -------------------------------------

# recipe_key WORD|FILE… prints one hash over all of them. A thing is made again
# when its key changes: list every file and version that goes into it.
recipe_key() {
  local part
  for part in "$@"; do
    if [[ -f $part ]]; then sha256sum <"$part"; else printf 'word %s\n' "$part"; fi
  done | sha256sum | cut -c1-32
}

# is_made PATH KEY: PATH is there and was made by the recipe KEY.
is_made() { [[ -e $1 && -f $1.key && $(<"$1.key") == "$2" ]]; }

# begin PATH prints an empty scratch directory beside PATH; what an earlier run
# left half-made there is removed. Nothing is at PATH until commit.
begin() {
  local scratch=$1.making
  discard "$scratch"
  mkdir -p "$scratch"
  printf '%s\n' "$scratch"
}

# commit PATH KEY puts what begin gave at PATH, and its key beside it. The key
# goes first on the way out and comes last on the way in, so that it never
# stands beside something else.
commit() {
  rm -f "$1.key"
  discard "$1"
  mv "$1.making" "$1"
  printf '%s\n' "$2" >"$1.key.new"
  mv "$1.key.new" "$1.key"
}

# discard PATH removes a tree, also one in which an interrupted mmdebstrap left
# /proc, /sys or /dev mounted: following those would be a disaster.
discard() {
  [[ -e $1 ]] || return 0
  local path
  path=$(readlink -f "$1")
  while read -r mounted; do
    umount -l "$mounted"
  done < <(awk -v p="$path/" 'index($5, p) == 1 {print $5}' /proc/self/mountinfo | sort -r)
  rm -rf --one-file-system "$path"
}

# --- Dagger ---------------------------------------------------------------

# has_own_dagger: a Dagger CLI that we did not build, and a container runtime to
# start its engine with, are installed here.
has_own_dagger() {
  [[ ! -d $GANTRY_OURS ]] && command -v dagger >/dev/null && docker info >/dev/null 2>&1
}

# gantry_env_lines prints what a shell needs for `dagger` to work, to be eval'ed.
gantry_env_lines() {
  if ! has_own_dagger; then
    printf 'export _EXPERIMENTAL_DAGGER_RUNNER_HOST=%q\n' "$GANTRY_RUNNER_HOST"
    # shellcheck disable=SC2016 # the reader's PATH
    printf 'export PATH=%q:"$PATH"\n' /usr/local/bin
    # Programs that use Dagger's SDK would download a CLI of their own.
    printf 'export _EXPERIMENTAL_DAGGER_CLI_BIN=%q\n' /usr/local/bin/dagger
  fi
  printf 'export DAGGER_NO_NAG=1\n'
  printf 'export DO_NOT_TRACK=1\n'
}

# gantry_env sets the same in this shell.
gantry_env() { eval "$(gantry_env_lines)"; }

# --- Processes ------------------------------------------------------------

# alive NAME PROGRAM: the process recorded as NAME runs, and is PROGRAM still
# (after a reboot its id may be somebody else's).
alive() {
  local pid
  [[ -s $GANTRY_RUN/$1.pid ]] || return 1
  pid=$(<"$GANTRY_RUN/$1.pid")
  [[ $(readlink "/proc/$pid/exe" 2>/dev/null) == "$2"* ]]
}

# stop NAME PROGRAM ends that process and waits until it is gone.
stop() {
  local pid tries
  if alive "$1" "$2"; then
    pid=$(<"$GANTRY_RUN/$1.pid")
    kill "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 150; tries++)); do
      alive "$1" "$2" || break
      sleep 0.1
    done
    if alive "$1" "$2"; then kill -9 "$pid" 2>/dev/null || true; fi
  fi
  rm -f "$GANTRY_RUN/$1.pid"
}

# until_true SECONDS COMMAND… waits for COMMAND to succeed.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}
