# shellcheck shell=bash disable=SC2154 # scripts/bench sets work, targets and namespace
# A large source, and the cost of calls on it. scripts/bench sources this file.

# noise BYTES SEED prints bytes that can't be compressed, the same for the same seed.
noise() { head -c "$1" /dev/zero | openssl enc -aes-128-ctr -nosalt -K "$(printf '%032x' "$2")" -iv "$(printf '%032x' 0)"; }

# large_source DIRECTORY FILES MB makes a repository with a program in Rust and FILES
# other files. MB is the size of all of it: git's store has one half, eight files a
# quarter, the others the rest.
large_source() {
  local directory=$1 files=$2 mb=$3 size i left
  size=$((mb * 250000 / files))
  ((size > 0)) || die "$files files in $mb MB: there is not a byte for each"
  mkdir -p "$directory/src" "$directory/assets"
  for ((i = 0; i < 8; i++)); do noise $((mb * 31250)) "$i" >"$directory/assets/$i.bin"; done
  for ((i = 0, left = files; left > 0; i++, left -= 1000)); do
    mkdir -p "$directory/data/$i"
    noise $((size * (left < 1000 ? left : 1000))) $((i + 8)) | (cd "$directory/data/$i" && split -b "$size" -a 3 -d - part)
  done
  printf '[package]\nname = "tiny"\nversion = "1.0.0"\nedition = "2021"\n' >"$directory/Cargo.toml"
  printf 'version = 3\n\n[[package]]\nname = "tiny"\nversion = "1.0.0"\n' >"$directory/Cargo.lock"
  printf 'fn main() { println!("tiny 1.0.0"); }\n' >"$directory/src/main.rs"
  printf '/target\n' >"$directory/.gitignore"
  git -C "$directory" init -q -b main
  # Large files go into a pack at once, and are not compressed.
  git -C "$directory" -c core.bigFileThreshold=1 -c core.compression=0 add -A
  git -C "$directory" -c gc.auto=0 -c user.name=bench -c user.email=bench@example.com commit -q -m "feat: everything"
  git -C "$directory" tag v1.0.0
}

# written sets wrote, the bytes that the ended children of this shell have written to
# files, pipes and sockets.
written() {
  local key value
  while read -r key value; do
    [[ $key != wchar: ]] || wrote=$value
  done <"/proc/$$/io"
}

# counted NAME ARGUMENT… makes a call, and adds its seconds to the file NAME.seconds. It
# sets sent, the bytes that the client wrote, nearly all of them to the engine; uploads,
# how often it sent the list of the source's files; and gits, how often a changed .git.
counted() {
  local name=$work/$1 wrote before start=$EPOCHREALTIME
  shift
  written && before=$wrote
  NO_COLOR=1 gantry -vvv "$@" >"$name.out" 2>"$name.log" || { tail -n 30 "$name.log" >&2 && die "failed: $*"; }
  printf '%s\n' "$(less "$EPOCHREALTIME" "$start")" >>"$name.seconds"
  written && sent=$((wrote - before))
  uploads=$(grep -F "Host.directory(path: \"$work/source\"" "$name.log" | cut -d ' ' -f 1 | sort -u | wc -l)
  gits=$(grep -cE '^[0-9]+ .*[^[:alnum:]/]\.git DONE ' "$name.log" || true)
  cat "$name.log" >>"$GANTRY_LOGS/bench.log"
}

# large_call NAME makes one of the calls that are compared. None exports anything.
large_call() {
  case $1 in
    nothing) counted nothing module-version ;;
    plan) counted plan release plan ;;
    dist) counted dist release dist --targets="${targets[0]}" entries ;;
    build) counted build build --target="${targets[0]}" entries ;;
  esac
}

# megabytes BYTES
megabytes() { awk -v n="$1" 'BEGIN {printf "%.1f", n / 1000000}'; }

# empty_source removes the source, also the engine's copy of what was uploaded: an
# upload of nothing from the same place.
empty_source() {
  find "$work/source" -mindepth 1 -delete
  gantry module-version >>"$GANTRY_LOGS/bench.log" 2>&1 || true
}

bench_large() {
  local files=${1:-100000} mb=${2:-2000} rounds=5 name i sent uploads gits nothing
  log "a repository of $files files and $mb MB; log: $GANTRY_LOGS/bench.log"
  rm -rf "$work/source"
  large_source "$work/source" "$files" "$mb"
  # shellcheck disable=SC2064 # its value now
  trap "work='$work' namespace='$namespace'; empty_source; rm -rf '$work'" EXIT
  for name in nothing plan dist build; do
    large_call "$name"
    printf '%-44s %8s s %9s MB sent, %d × the source, %d × its .git\n' "first: $name" "$(<"$work/$name.seconds")" "$(megabytes "$sent")" "$uploads" "$gits"
    rm "$work/$name.seconds"
  done
  # They take turns: seconds after a call, the engine is still busy with it.
  for ((i = 0; i < rounds; i++)); do
    for name in nothing plan dist build; do
      large_call "$name"
      printf '%d %d %d\n' "$sent" "$uploads" "$gits" >"$work/$name.sent"
    done
  done
  nothing=$(median <"$work/nothing.seconds")
  for name in nothing plan dist build; do
    read -r sent uploads gits <"$work/$name.sent"
    printf '%-44s %8s s %9s MB sent, %d × the source, %d × its .git\n' "unchanged: $name" "$(median <"$work/$name.seconds")" "$(megabytes "$sent")" "$uploads" "$gits"
  done
  for name in plan dist build; do
    printf '%-44s %8s    (at most 1.5)\n' "unchanged: $name / nothing" "$(ratio "$(median <"$work/$name.seconds")" "$nothing")"
  done
  rm "$work/build.seconds"
  printf '#[used]\nstatic BENCH: &str = "%s";\n' "$namespace" >>"$work/source/src/main.rs"
  large_call build
  printf '%-44s %8s s %9s MB sent, %d × the source, %d × its .git\n' "one line edited: build" "$(<"$work/build.seconds")" "$(megabytes "$sent")" "$uploads" "$gits"
  printf '%-44s %8s\n' "one line edited: build / nothing" "$(ratio "$(<"$work/build.seconds")" "$nothing")"
}
