#!/bin/sh
# Keeps what bills of materials are made from, after a build.
#
#   bill.sh MESSAGES DIRECTORY
#
# It runs in the directory of the workspace, with the environment of the build.
# GANTRY_CRATES lists the targets that were built. GANTRY_SELECT has the arguments of
# Cargo that select packages and features. MESSAGES are Cargo's, of the build.
#
# DIRECTORY gets messages (those about crates), Cargo.lock, and tree/TARGET (the graph
# of dependencies, see ci/release/cargo/tree.go).
set -eu
messages=$1 out=$2
mkdir -p "$out/tree"
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
		echo "gantry: cargo tree can't list the crates of $triple; set sbom = false to do without" >&2
		exit 1
	}
done
