#!/bin/sh
# Builds one or more targets.
#
#   build.sh [NAME=VALUE…] -- SUBCOMMAND [ARGUMENT…]
#
# The variables are set where they are not yet, and what follows is cargo's.
# GANTRY_WORKSPACE is the folder of the workspace in the source, GANTRY_PRE_BUILD a
# command to run before, and GANTRY_RUN lists those of the targets whose binaries
# run here. GANTRY_SBOM is set if bills of materials are to be made.
#
# /gantry-input  the source, read only
# /gantry        a cache volume: src, a copy of the source, and target
# /gantry-crates a cache volume of downloaded crates, which every project writes
# /gantry-out    results: messages (those of Cargo that name an executable),
#                exe/… (each executable, at its path), run/… (how each ran),
#                crates (which were compiled and which were fresh),
#                sbom/… (what Cargo said of each crate, their licenses, Cargo.lock)
#
# Cargo decides by modification times what to compile, and those of an upload
# mean nothing: an older file may be the newer content. So the copy is brought
# up to date by content, and whatever differs gets the time of now, which is
# later than every build before. That makes a stale binary impossible while
# everything unchanged stays compiled.
set -eu
# shellcheck source=rustup.sh
. /gantry-bin/rustup.sh
# shellcheck source=crates.sh
. /gantry-bin/crates.sh
src=/gantry/src out=/gantry-out tmp=$(mktemp -d)
fail() {
	echo "gantry: $*" >&2
	exit 1
}

# One build at a time: the kernel takes this lock from a process that ends, however
# it ends. A volume that the engine locks stays locked when a call is interrupted.
command -v flock >/dev/null || fail "the toolchain container has no flock, which keeps two builds apart: install util-linux in it"
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

while [ "$1" != -- ]; do
	eval "set_already=\${${1%%=*}-}"
	if [ -z "$set_already" ]; then
		# shellcheck disable=SC2163 # the argument is an assignment
		export "$1"
	fi
	shift
done
shift

sums() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum) >"$2"; }
paths() { cut -c 67- | LC_ALL=C sort; }
programs() { (cd "$1" && find . -type f -perm -100 | LC_ALL=C sort) >"$2"; }
sums /gantry-input "$tmp/new"
sums "$src" "$tmp/old"
paths <"$tmp/new" >"$tmp/new.paths"
paths <"$tmp/old" >"$tmp/old.paths"
LC_ALL=C sort -o "$tmp/new" "$tmp/new"
LC_ALL=C sort -o "$tmp/old" "$tmp/old"
LC_ALL=C comm -13 "$tmp/new.paths" "$tmp/old.paths" | tr '\n' '\0' | (cd "$src" && xargs -0 -r rm -f)
(cd "$src" && find . -mindepth 1 -type d -empty -delete)
LC_ALL=C comm -23 "$tmp/new" "$tmp/old" | paths >"$tmp/changed"
if [ -s "$tmp/changed" ]; then
	# A folder or link may stand where a file is to be.
	while IFS= read -r f; do
		if [ -L "$src/$f" ] || [ -d "$src/$f" ]; then rm -rf "${src:?}/$f"; fi
	done <"$tmp/changed"
	tar -C /gantry-input -cf - -T "$tmp/changed" | tar -C "$src" -m -xf -
fi
programs /gantry-input "$tmp/new.x"
programs "$src" "$tmp/old.x"
LC_ALL=C comm -23 "$tmp/new.x" "$tmp/old.x" | tr '\n' '\0' | (cd "$src" && xargs -0 -r chmod a+x)
LC_ALL=C comm -13 "$tmp/new.x" "$tmp/old.x" | tr '\n' '\0' | (cd "$src" && xargs -0 -r chmod a-x)
(cd "$src" && find . -type l) >"$tmp/old.links"
while IFS= read -r l; do
	[ -L "/gantry-input/$l" ] || rm -f "$src/$l"
done <"$tmp/old.links"
(cd /gantry-input && find . -type l) >"$tmp/links"
while IFS= read -r l; do
	if [ "$(readlink "$src/$l" || true)" != "$(readlink "/gantry-input/$l")" ]; then
		mkdir -p "$(dirname "$src/$l")"
		rm -rf "${src:?}/$l"
		cp -P "/gantry-input/$l" "$src/$l"
		# Cargo looks at the file behind the link, which may be an old one.
		touch -c "$src/$l"
	fi
done <"$tmp/links"

cd "$src/$GANTRY_WORKSPACE"
export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
# The wrapper maps paths for rustc; C compilers get theirs through the cc crate.
export RUSTC_WRAPPER=/gantry-bin/rustc-wrapper.sh
export CFLAGS="-ffile-prefix-map=/gantry/src=. ${CFLAGS-}" CXXFLAGS="-ffile-prefix-map=/gantry/src=. ${CXXFLAGS-}"
if [ -n "${GANTRY_PRE_BUILD-}" ]; then
	sh -euc "$GANTRY_PRE_BUILD" 9>&-
fi

take_crates
cargo "$@" --message-format=json-render-diagnostics >"$tmp/messages" 9>&- || {
	status=$?
	share_crates
	# What rustc had to say went to standard error; the rest is here.
	grep -v '^{' "$tmp/messages" >&2 || true
	exit $status
}
share_crates
sed -n 's/.*"reason":"compiler-artifact","package_id":"\([^"]*\)".*"fresh":\([a-z]*\).*/\2 \1/p' "$tmp/messages" |
	sed 's/^true/fresh/; s/^false/compiled/' >"$out/crates"
echo "gantry: compiled $(grep -c ^compiled "$out/crates" || true) crates, $(grep -c ^fresh "$out/crates" || true) were fresh" >&2
sed -n 's/^compiled /gantry: compiled /p' "$out/crates" >&2

if [ -n "${GANTRY_SBOM-}" ]; then
	mkdir "$out/sbom"
	cp Cargo.lock "$out/sbom"
	grep '^{"reason":"compiler-artifact"' "$tmp/messages" >"$out/sbom/messages"
	# shellcheck disable=SC2016 # the variables are awk's
	sed -n 's/.*"manifest_path":"\([^"]*\)".*/\1/p' "$out/sbom/messages" | LC_ALL=C sort -u | tr '\n' '\0' | xargs -0 awk '
		FNR == 1 { in_package = 0 }
		/^\[/ { in_package = /^\[package\]/ }
		in_package && /^license[ \t]*=[ \t]*"/ { split($0, part, "\""); print FILENAME "\t" part[2] }
	' >"$out/sbom/licenses"
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
		# That it starts is what counts: with no such option it may fail, and a
		# server may go on for ever.
		status=0
		(cd "$(mktemp -d)" && env -i PATH="$PATH" HOME=/nonexistent timeout 10 "$exe" --version) \
			</dev/null >"$out/run$exe" 2>&1 || status=$?
		echo "exit status $status" >>"$out/run$exe"
	fi
done <"$tmp/exe"
