# shellcheck shell=bash disable=SC2154 # the caller sets what is named below
# Programs from crates.io, released as they were published: what scripts/real-program
# and scripts/survey share. Source it after lib.sh.
#
# The functions work on one program at a time, and read these variables:
#
#   name, version   the crate
#   out             a directory for its files: source, dist…, run, said
#   limit           a command that runs another one, such as (timeout 60), or empty

targets=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu x86_64-unknown-linux-musl aarch64-unknown-linux-musl)
index=https://index.crates.io
limit=()

# index_path NAME prints where the index has a crate.
index_path() {
  local name=${1,,}
  case ${#name} in
    [12]) printf '%s/%s\n' "${#name}" "$name" ;;
    3) printf '3/%s/%s\n' "${name:0:1}" "$name" ;;
    *) printf '%s/%s/%s\n' "${name:0:2}" "${name:2:2}" "$name" ;;
  esac
}

# find_version NAME VERSION prints the version and its checksum, of the newest stable
# version if none is given.
find_version() {
  local versions found
  versions=$(retry curl -fsS "$index/$(index_path "$1")") || die "crates.io has no crate \"$1\", or can't be reached"
  found=$(jq -rs --arg version "$2" 'map(select(if $version == "" then (.yanked or (.vers | contains("-"))) | not else .vers == $version end))
    | last // empty | "\(.vers) \(.cksum)"' <<<"$versions")
  [[ $found ]] || die "crates.io has no version \"$2\" of $1; it has $(jq -rs 'map(.vers) | .[-5:] | join(", ")' <<<"$versions")"
  printf '%s\n' "$found"
}

# download NAME VERSION CHECKSUM puts the crate into the cache, and prints its path.
download() {
  local file=$GANTRY_CACHE/crates/$1-$2.crate downloads
  if [[ ! -f $file ]]; then
    mkdir -p "${file%/*}"
    downloads=$(retry curl -fsS "$index/config.json" | jq -r .dl)
    retry curl -fsSL -o "$file.part" "$downloads/$1/$2/download" || die "$1 $2 could not be downloaded"
    sha256sum --check --quiet <<<"$3  $file.part" || die "$1 $2 is not what the index of crates.io lists: the SHA-256 differs"
    mv "$file.part" "$file"
  fi
  printf '%s\n' "$file"
}

# make_repository CRATE [SETTING…] makes the files of a crate a repository with one
# commit and its tag, in $out/source.
make_repository() {
  rm -rf "$out/source" && mkdir -p "$out/source"
  tar -C "$out/source" --strip-components=1 --no-same-owner -xzf "$1"
  cd "$out/source" || return
  # Cargo writes Cargo.toml anew when it packages a crate; this is the one before.
  rm -f Cargo.toml.orig
  (($# == 1)) || printf '%s\n' '' '[package.metadata.gantry]' "${@:2}" >>Cargo.toml
  export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE="$GANTRY_EPOCH +0000" GIT_COMMITTER_DATE="$GANTRY_EPOCH +0000"
  git init -q -b main
  git add -A -f
  git -c user.name=demo -c user.email=demo@example.com commit -q -m "feat: import $name $version from crates.io"
  git tag "v$version"
}

# release LOG FUNCTION… calls a function of the release. Only its result is printed. An
# engine with several calls at a time sometimes fails to mount a layer, before anything
# runs; then it is called again.
release() {
  local try
  for try in 1 2 3; do
    (cd "$GANTRY_ROOT" && "${limit[@]}" dagger call --progress=plain --source="$out/source" release --tag="v$version" "${@:2}") 2>"$1" && return
    grep -q '^Error: .*failed to mount' "$1" || return 1
    sleep "$((try * 5))"
  done
  return 1
}

# dist DIRECTORY LOG [ARGUMENT…] builds the files of the release.
dist() { release "$2" dist "${@:3}" export --path="$1" >/dev/null; }

# dist_each LOG makes a release of each target, to find out which ones fail. LOG-TARGET.log
# has its output.
dist_each() {
  local target
  for target in "${targets[@]}"; do
    rm -rf "$out/dist-$target"
    dist "$out/dist-$target" "$1-$target.log" --targets="$target" || true
  done
}

# unpack the archives into $out/run/TARGET.
unpack() {
  local target archive
  rm -rf "$out/run" && mkdir "$out/run"
  for target in "${targets[@]}"; do
    for archive in "$out"/dist*/*-"$target".tar.gz; do
      [[ -f $archive ]] || continue
      (cd "${archive%/*}" && sha256sum --check --strict --quiet SHA256SUMS)
      mkdir -p "$out/run/$target"
      tar -C "$out/run/$target" --strip-components=1 -xzf "$archive"
    done
  done
}

# run_on PLATFORM ARCH LOG runs the binaries of targets that begin with ARCH, and puts what
# they print into $out/said/TARGET@NAME, and errors into a file beside it.
run_on() {
  local bin said arguments=()
  while read -r bin; do
    said=/said/${bin%%/*}@${bin##*/}
    arguments+=(with-exec "--args=/run/$bin,--version" --expect=ANY "--redirect-stdout=$said" "--redirect-stderr=$said.stderr")
  done < <(cd "$out/run" && find . -path "./$2-*" -type f -perm -100 | sed 's#^./##' | LC_ALL=C sort)
  ((${#arguments[@]})) || return 0
  "${limit[@]}" dagger core --progress=plain container "--platform=$1" from --address=debian:bookworm-slim \
    with-directory --path=/run --source="$out/run" with-new-file --path=/said/.here --contents= \
    "${arguments[@]}" directory --path=/said export --path="$out/said" >"$3" 2>&1 || { tail -n 40 "$3" >&2 && die "the binaries for $1 could not be run"; }
}

