#!/bin/sh
# Writes into the directory $1 the facts of the source in the working directory:
# Cargo's metadata of the workspace in its directory $2, the paths of all files, the
# toolchain's versions, and the state of the repository.
set -eu
fail() {
	echo "gantry: $*" >&2
	exit 1
}
command -v cargo >/dev/null || fail "the toolchain container has no cargo on its PATH: pass --toolchain with one that has"
# shellcheck source=rustup.sh
. /gantry-bin/rustup.sh

# The facts are independent of each other, so they are found at the same time.
files() {
	find . -path ./.git -prune -o -type f -print | sed 's#^\./#file #'
	# Links are followed, but not out of the source.
	root=$(pwd -P)
	find . -path ./.git -prune -o -type l -print | while IFS= read -r f; do
		real=$(readlink -f "$f") || real=
		case $real in
		"$root"/.git/*) kind="outside" ;;
		"$root"/*) kind="file" ;;
		*) kind="outside" ;;
		esac
		[ -f "$real" ] || kind="broken"
		printf '%s %s\n' "$kind" "${f#./}"
	done
}
# Programs that Cargo runs while it builds are linked for this system, and crates
# against this standard library. Cargo only knows the version of rustc: another
# system or library must not find them in its cache.
system() {
	{
		rustc -vV
		cat /etc/os-release 2>/dev/null || true
		ldd --version 2>&1 || true
		find "$(rustc --print sysroot)/lib/rustlib" -name '*.rlib' -exec ls -lnL {} + | LC_ALL=C sort
	} | sha256sum | cut -c 1-12
}
# Cargo looks for its configuration from the working directory upwards.
workspace() {
	cd "$2"
	cargo metadata --no-deps --format-version 1 >"$1/metadata.json"
	root=$(cargo locate-project --workspace --message-format plain)
	cp "${root%/Cargo.toml}/Cargo.lock" "$1/lock" 2>/dev/null || : >"$1/lock"
}
versions() { rustc --version && cargo --version; }
repository() {
	if command -v git >/dev/null; then
		/gantry-bin/git.sh "$1"
	else
		echo "no git" # read by inspect.go
	fi
}

mkdir -p "$1"
# rustup installs the toolchain that the project names at the first call, and two
# calls at the same time would get in each other's way.
versions >"$1/versions"
files >"$1/files" &
files=$!
system >"$1/system" &
system=$!
repository "$2" >"$1/git" &
repository=$!
workspace "$1" "$2"
wait "$files"
wait "$system"
wait "$repository"
