#!/bin/sh
# Builds one or more targets.
#
#   build.sh [NAME=VALUE…] -- SUBCOMMAND [ARGUMENT…]
#
# It sets the variables that have no value yet; the rest are cargo's arguments.
# GANTRY_WORKSPACE is the directory of the workspace in the source, GANTRY_PRE_BUILD
# a command to run first, and GANTRY_RUN lists the targets whose binaries run here.
# GANTRY_CRATES lists the targets whose crates it describes, and GANTRY_SELECT has the
# arguments that select packages and features (bill.sh). GANTRY_CONDITIONS is set if the
# result is compared with another build's (conditions.sh). GANTRY_CONTENT identifies
# the content of the source, or is empty.
#
# /gantry-input  the source, read only
# /gantry        a cache volume: src, a copy of the source, and target
# /gantry-crates a cache volume of downloaded crates that all projects write to
# /gantry-fetched  the dependencies, if they need a login: part of Cargo's home
# /gantry-out    results: messages (Cargo's, about executables), exe/… (each
#                executable, at its path), run/… (the output of each), crates/…
#                (what bill.sh keeps)
set -eu
# shellcheck source=rustup.sh
. /gantry-bin/rustup.sh
# shellcheck source=crates.sh
. /gantry-bin/crates.sh
# shellcheck source=copy.sh
. /gantry-bin/copy.sh
src=${GANTRY_SRC:-/gantry/src} out=/gantry-out tmp=$(mktemp -d)
fail() {
	echo "gantry: $*" >&2
	exit 1
}

# One build at a time: the kernel releases this lock when the process ends, however
# it ends. A lock of the engine would survive an interrupted call.
command -v flock >/dev/null || fail "the toolchain container has no flock, which separates builds: install util-linux in it"
exec 9>>/gantry/lock
waited=0
until flock -n 9; do
	case $waited in
	7200) fail "another build of the same project has held the cache for two hours (since $(cat /gantry/holder)): stop it, or pass another --cache-namespace" ;;
	10 | *00) echo "gantry: waiting for another build of the same project, which has held the cache since $(cat /gantry/holder 2>/dev/null || echo 'a moment ago')" >&2 ;;
	esac
	sleep 1
	waited=$((waited + 1))
done
date -u '+%Y-%m-%d %H:%M:%S UTC' >/gantry/holder
mkdir -p "$src" "$out/exe" "$out/run"
apart() { "$@"; }
under() { "$@"; }
if [ -n "${GANTRY_CONDITIONS-}" ]; then
	# shellcheck source=conditions.sh
	. /gantry-bin/conditions.sh
fi

while [ "$1" != -- ]; do
	eval "set_already=\${${1%%=*}-}"
	if [ -z "$set_already" ]; then
		# shellcheck disable=SC2163 # the argument is an assignment
		export "$1"
	fi
	shift
done
shift

copy_source /gantry-input "$src" "$src.record" "${GANTRY_CONTENT-}"

cd "$src/$GANTRY_WORKSPACE"
export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
# The wrapper maps paths for rustc; C compilers get theirs through the cc crate.
export RUSTC_WRAPPER=/gantry-bin/rustc-wrapper.sh
export CFLAGS="-ffile-prefix-map=$src=. ${maps-}${CFLAGS-}" CXXFLAGS="-ffile-prefix-map=$src=. ${maps-}${CXXFLAGS-}"
if [ -n "${GANTRY_PRE_BUILD-}" ]; then
	apart sh -euc "$GANTRY_PRE_BUILD" 9>&-
fi

# The caller's logins got the dependencies already (fetch.sh), which are for this
# project only.
if [ -d /gantry-fetched ]; then
	cargo_home=${CARGO_HOME:-$HOME/.cargo}
	cp -r /gantry-fetched/. "$cargo_home"
	export CARGO_NET_OFFLINE=true
	take_crates() { :; }
	share_crates() { :; }
fi

take_crates
if [ -n "${GANTRY_CONDITIONS-}" ]; then
	download
	record_start
fi
under cargo "$@" --message-format=json-render-diagnostics >"$tmp/messages" 9>&- || {
	status=$?
	share_crates
	# Errors of rustc went to standard error; other programs' are here.
	grep -v '^{' "$tmp/messages" >&2 || true
	exit $status
}
share_crates
sed -n 's/.*"reason":"compiler-artifact","package_id":"\([^"]*\)".*"fresh":\([a-z]*\).*/\2 \1/p' "$tmp/messages" >"$tmp/crates"
echo "gantry: compiled $(grep -c ^false "$tmp/crates" || true) crates; $(grep -c ^true "$tmp/crates" || true) were up to date" >&2
sed -n 's/^false /gantry: compiled /p' "$tmp/crates" >&2

if [ -n "${GANTRY_CRATES-}" ]; then
	/gantry-bin/bill.sh "$tmp/messages" "$out/crates" 9>&-
fi

grep '"executable":"' "$tmp/messages" >"$out/messages" || true
sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$out/messages" | LC_ALL=C sort -u >"$tmp/exe"
while IFS= read -r exe; do
	mkdir -p "$out/exe$(dirname "$exe")" "$out/run$(dirname "$exe")"
	cp "$exe" "$out/exe$exe"
	runs=
	for triple in ${GANTRY_RUN-}; do
		case $exe in "$CARGO_TARGET_DIR/$triple/"*) runs=true ;; esac
	done
	if [ "$runs" ]; then
		/gantry-bin/start.sh "$exe" "$out/run$exe"
	fi
done <"$tmp/exe"
[ -z "${GANTRY_CONDITIONS-}" ] || record_end
