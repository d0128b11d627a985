# shellcheck shell=sh disable=SC2086 # TARGETS and COMPARED are lists
# Builds the server of the sample in /source with $TOOL, for $TARGETS, in a container
# with Rust and zig. What it measures goes to /out/measured, a line each:
#
#   seconds cold|unchanged|edited|one NUMBER
#   sha256 a|b NAME DIGEST   of what two builds in different directories made, of
#                            $COMPARED, some of the targets
#   failed TARGET            what the tool can't build here
#
# The binaries for glibc are in /out/gnu. Crates are downloaded before the first build.
set -eu
leaf=crates/tally-server/src/main.rs
export PATH="$PATH:/shims"
mkdir -p /out/gnu
rustup target add $TARGETS

say() { echo "$*" | tee -a /out/measured; }

# timed NAME COMMAND…
timed() {
  name=$1 start=$(date +%s.%N)
  shift
  "$@"
  say "seconds $name $(echo "$start $(date +%s.%N)" | awk '{printf "%.2f", $2 - $1}')"
}

edit() { printf '#[used]\nstatic PEERS_%s: &str = "x";\n' "$1" >>"$leaf"; }

# For each tool: configure TARGET…, build TARGET…, one TARGET, and files, which lists what
# it made. one makes the binaries only, if the tool can.
one() { build "$1"; }
case $TOOL in
  cargo)
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_musl=aarch64-linux-musl-gcc
    export CC_x86_64_unknown_linux_musl=x86_64-linux-musl-gcc
    configure() { :; }
    build() { for t; do cargo build --locked --release --package tally-server --features gzip --target "$t"; done; }
    files() { for t in $TARGETS; do ls "target/$t/release/tally-server" "target/$t/release/tally-audit"; done; }
    ;;
  goreleaser)
    configure() { sed "s/{{TARGETS}}/$(echo "$*" | sed 's/ /, /g')/" /goreleaser.yaml >.goreleaser.yaml; }
    build() { goreleaser release --snapshot --clean; }
    one() { TARGET=$1 goreleaser build --snapshot --clean --single-target; }
    files() { find dist -maxdepth 1 -name '*.tar.gz' | sort; }
    ;;
  dist)
    configure() {
      cp /dist-workspace.toml .
      printf '\n[package.metadata.dist]\nfeatures = ["gzip"]\n' >>crates/tally-server/Cargo.toml
      printf '\n[package.metadata.dist]\ndist = false\n' >>crates/tally-cli/Cargo.toml
    }
    # A target at a time, as in the jobs that dist makes for a CI.
    build() {
      for t; do
        if grep -qs "failed $t" /out/measured; then continue; fi
        dist build --artifacts=local --tag=tally-server-v1.4.0 --target="$t" || say "failed $t"
      done
    }
    files() { find target/distrib -maxdepth 1 -name '*.tar.*' ! -name '*.sha256' ! -name 'source*' | sort; }
    ;;
esac

sums() {
  for f in $(files); do
    for t in $COMPARED; do
      case $f in *"$t"*) say "sha256 $1 $f $(sha256sum <"$f" | cut -d' ' -f1)" ;; esac
    done
  done
}

git config --global --add safe.directory '*'
cp -r /source /a
cd /a
configure $TARGETS
cargo fetch --locked
timed cold build $TARGETS
sums a
for f in $(files); do
  case $f in
    *-gnu/*) cp "$f" "/out/gnu/$(echo "$f" | tr / _)" ;;
    *-gnu.tar.*) mkdir -p "/out/gnu/${f##*/}" && tar -C "/out/gnu/${f##*/}" -xf "$f" ;;
  esac
done
for i in $(seq "$ROUNDS"); do timed unchanged build $TARGETS; done
for i in $(seq "$ROUNDS"); do edit "A$i" && timed edited build $TARGETS; done
for i in $(seq "$ROUNDS"); do edit "B$i" && timed one one "${TARGETS%% *}"; done
mkdir -p /elsewhere
cp -r /source /elsewhere/b
cd /elsewhere/b
TARGETS=$COMPARED
configure $TARGETS
build $TARGETS
sums b
