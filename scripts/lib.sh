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
((EUID == 0)) || GANTRY_RUN=${XDG_RUNTIME_DIR:-/tmp}/gantry-$UID

GANTRY_DAGGER_VERSION=v0.19.10
GANTRY_RUNNER_HOST=unix:///run/dagger/engine.sock
# The registry as programs of this machine see it. Containers of the engine reach
# it at $GANTRY_REGISTRY_IN_CONTAINERS, which gantry_env sets.
GANTRY_REGISTRY=${GANTRY_REGISTRY:-127.0.0.1:5000}
# Debian's registry; where it is not installed, crane serves one.
GANTRY_DOCKER_REGISTRY=/usr/bin/docker-registry
# The Docker that scripts/up --docker starts: its socket, and its bridge's address.
GANTRY_DOCKER_HOST=unix://$GANTRY_RUN/docker.sock
GANTRY_DOCKER_GATEWAY=${GANTRY_DOCKER_GATEWAY:-172.29.0.1}
GANTRY_DOCKER_ENGINE=dagger-engine-$GANTRY_DAGGER_VERSION
# What scripts/engine/place left: while this directory is there, the Dagger in
# /usr/local/bin is ours.
GANTRY_OURS=${GANTRY_OURS:-/usr/local/share/dagger/gantry}

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

# container_runtime prints the program with which Dagger starts its engine: the
# first of these that is installed, whether it works or not.
container_runtime() {
  local program
  for program in docker podman finch nerdctl; do
    if command -v "$program" >/dev/null; then
      printf '%s\n' "$program"
      return 0
    fi
  done
  return 1
}

# gantry_engine prints which engine is used:
#
#   own     the Dagger CLI that is installed here, with the engine that it starts
#           in Docker or the like, or that _EXPERIMENTAL_DAGGER_RUNNER_HOST names
#   bare    an engine that scripts/up builds, as a process of this machine
#   docker  the same in a container, in a Docker that scripts/up --docker starts
#
# GANTRY_ENGINE chooses one. By default it is own if both programs are installed,
# and bare if not, or if scripts/up has once made that.
gantry_engine() {
  case ${GANTRY_ENGINE:-} in
    own | bare | docker) printf '%s\n' "$GANTRY_ENGINE" ;;
    '')
      if [[ ! -d $GANTRY_OURS ]] && command -v dagger >/dev/null &&
        { [[ ${_EXPERIMENTAL_DAGGER_RUNNER_HOST:-} ]] || container_runtime >/dev/null; }; then
        echo own
      else
        echo bare
      fi
      ;;
    *) die "GANTRY_ENGINE is \"$GANTRY_ENGINE\": it can be own, bare or docker" ;;
  esac
}

# gantry_env_lines prints what a shell needs for `dagger` to work, to be eval'ed.
gantry_env_lines() {
  local engine dagger
  engine=$(gantry_engine)
  printf 'export GANTRY_ENGINE=%q\n' "$engine"
  case $engine in
    own) dagger=$(command -v dagger) || die "dagger is not installed: see https://docs.dagger.io/install" ;;
    bare)
      dagger=/usr/local/bin/dagger
      printf 'export _EXPERIMENTAL_DAGGER_RUNNER_HOST=%q\n' "$GANTRY_RUNNER_HOST"
      ;;
    docker)
      dagger=$GANTRY_CACHE/docker/cli/dagger
      printf 'unset _EXPERIMENTAL_DAGGER_RUNNER_HOST DOCKER_CONTEXT\n'
      printf 'export DOCKER_HOST=%q\n' "$GANTRY_DOCKER_HOST"
      ;;
  esac
  # shellcheck disable=SC2016 # the reader's PATH
  [[ $engine == own ]] || printf 'export PATH=%q:"$PATH"\n' "${dagger%/*}"
  # Programs that use Dagger's SDK would download another CLI.
  printf 'export _EXPERIMENTAL_DAGGER_CLI_BIN=%q\n' "$dagger"
  printf 'export DAGGER_NO_NAG=1\n'
  printf 'export DO_NOT_TRACK=1\n'
}

# host_in_containers prints an address at which containers of the engine reach this
# machine.
host_in_containers() {
  case $(gantry_engine) in
    bare) echo 10.87.0.1 ;;
    docker) printf '%s\n' "$GANTRY_DOCKER_GATEWAY" ;;
    # Any address but loopback, which is the container's.
    own) ip -4 route get 1.1.1.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p' ;;
  esac
}

# gantry_env sets the same in this shell, and for the programs that it starts the
# addresses at which containers of the engine reach this machine and its registry.
gantry_env() {
  local lines
  lines=$(gantry_env_lines)
  eval "$lines"
  export GANTRY_REGISTRY
  export GANTRY_HOST_IN_CONTAINERS=${GANTRY_HOST_IN_CONTAINERS:-$(host_in_containers)}
  export GANTRY_REGISTRY_IN_CONTAINERS=${GANTRY_REGISTRY_IN_CONTAINERS:-$GANTRY_HOST_IN_CONTAINERS:${GANTRY_REGISTRY##*:}}
}

# need PROGRAM… stops before any work if one is missing.
need() {
  local program missing=()
  for program; do command -v "$program" >/dev/null || missing+=("$program"); done
  ((!${#missing[@]})) || die "not installed: ${missing[*]} (on Debian: apt-get install ${missing[*]})"
}

# crane is the command line of the library with which Gantry pushes images, in the
# same version. The first call builds it.
crane() {
  "$(crane_program)" "$@"
}
crane_program() {
  local version directory
  version=$(cd "$GANTRY_ROOT" && go list -m -f '{{.Version}}' github.com/google/go-containerregistry)
  directory=$GANTRY_CACHE/crane-$version
  [[ -x $directory/crane ]] ||
    GOBIN=$directory GOFLAGS=-mod=mod go install "github.com/google/go-containerregistry/cmd/crane@$version" >"$GANTRY_LOGS/crane.log" 2>&1 ||
    die "crane could not be built: see $GANTRY_LOGS/crane.log"
  printf '%s\n' "$directory/crane"
}

# with_engine ENGINE COMMAND… runs COMMAND with another engine than this shell's.
with_engine() {
  env -u GANTRY_HOST_IN_CONTAINERS -u GANTRY_REGISTRY_IN_CONTAINERS GANTRY_ENGINE="$1" "${@:2}"
}

# engine_state prints the directory that the engine writes everything into, or
# fails and prints why it can't be read.
engine_state() {
  local container runtime directory
  case $(gantry_engine) in
    bare) echo /var/lib/dagger && return ;;
    docker) runtime=docker container=$GANTRY_DOCKER_ENGINE ;;
    own)
      [[ ! ${_EXPERIMENTAL_DAGGER_RUNNER_HOST:-} ]] || { echo "the engine is elsewhere" && return 1; }
      runtime=$(container_runtime)
      container=$("$runtime" ps --format '{{.Names}}' | grep -m 1 '^dagger-engine-') || { echo "$runtime runs no engine" && return 1; }
      ;;
  esac
  directory=$("$runtime" inspect -f '{{range .Mounts}}{{if eq .Destination "/var/lib/dagger"}}{{.Source}}{{end}}{{end}}' "$container")
  [[ -r $directory ]] || { echo "this user can't read $runtime's volume \"$directory\"" && return 1; }
  printf '%s\n' "$directory"
}

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

# registry_runs: the local registry is one of ours.
registry_runs() { alive registry "$GANTRY_DOCKER_REGISTRY" || alive registry "$GANTRY_CACHE/crane-"; }

# until_true SECONDS COMMAND… waits for COMMAND to succeed.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}
