#!/bin/sh
# Keeps what bills of materials and notices are made from, after a build.
#
#   bill.sh MESSAGES DIRECTORY
#
# It runs in the directory of the workspace, with the environment of the build.
# GANTRY_CRATES lists the targets that were built. GANTRY_SELECT has the arguments of
# Cargo that select packages and features. MESSAGES are Cargo's, of the build.
#
# DIRECTORY gets
#   messages       those about crates
#   Cargo.lock
#   tree/TARGET    the graph of dependencies (ci/release/cargo/tree.go)
#   texts/…        the license files of the crates, each at its path
#   further        license files that are not where others have theirs: a line for each,
#                  the crate's directory, a tab, and the path
set -eu
messages=$1 out=$2 tmp=$(mktemp -d)
mkdir -p "$out/tree" "$out/texts"
cp Cargo.lock "$out"
grep '^{"reason":"compiler-artifact"' "$messages" >"$out/messages"

# Cargo resolves features here as it does for a build. It needs no network: it has
# downloaded what these targets need.
tab=$(printf '\t')
for triple in $GANTRY_CRATES; do
	# shellcheck disable=SC2086 # a list of arguments
	cargo tree --locked --offline --target "$triple" $GANTRY_SELECT \
		--edges normal,build --prefix depth --charset ascii \
		--format "$tab{p}$tab{l}$tab{r}$tab" >"$out/tree/$triple" || {
		echo "gantry: cargo tree can't list the crates of $triple, which compiled: to release without them, set sbom = false and notices = false" >&2
		exit 1
	}
done

# licenses DIRECTORY… prints the license files in each, and those in its directory of
# licenses.
licenses() {
	find -L "$@" -maxdepth 1 -type f \( -iname 'license*' -o -iname 'licence*' -o -iname 'unlicense*' \
		-o -iname 'copying*' -o -iname 'copyright*' -o -iname 'notice*' \) 2>/dev/null || true
	find -L "$@" -mindepth 2 -maxdepth 2 -type f \( -ipath '*/licenses/*' -o -ipath '*/licences/*' -o -ipath '*/license/*' \) 2>/dev/null || true
}
sed -n 's/.*"manifest_path":"\([^"]*\)".*/\1/p' "$out/messages" | LC_ALL=C sort -u >"$tmp/manifests"
set --
while IFS= read -r manifest; do
	set -- "$@" "${manifest%/Cargo.toml}"
done <"$tmp/manifests"
licenses "$@" >"$tmp/texts"

# The key license-file may name any file.
while IFS= read -r manifest; do
	file=$(awk '
		/^\[/ { in_package = /^\[package\]/ }
		in_package && /^license-file[ \t]*=[ \t]*"/ { split($0, part, "\""); print part[2]; exit }
	' "$manifest")
	dir=${manifest%/Cargo.toml}
	[ -z "$file" ] || [ ! -f "$dir/$file" ] || printf '%s\t%s\n' "$dir" "$dir/$file"
done <"$tmp/manifests" >"$out/further"

# A repository has them at its top for all its crates.
for dir; do
	case $dir in */git/checkouts/*/*/*) ;; *) continue ;; esac
	if grep -qF "$dir/" "$tmp/texts" || grep -qF "$dir$tab" "$out/further"; then
		continue
	fi
	up=$dir
	while up=${up%/*} && [ "${up##*/git/checkouts/*/}" != "$up" ]; do
		licenses "$up" >"$tmp/up"
		if [ -s "$tmp/up" ]; then
			while IFS= read -r file; do printf '%s\t%s\n' "$dir" "$file"; done <"$tmp/up"
			break
		fi
	done
done >"$tmp/repositories"
cat "$tmp/repositories" >>"$out/further"

cut -f 2 "$out/further" >>"$tmp/texts"
LC_ALL=C sort -u "$tmp/texts" | sed 's#^/##' >"$tmp/copy"
[ ! -s "$tmp/copy" ] || tar -C / -chf - -T "$tmp/copy" | tar -C "$out/texts" -xf -
