#!/bin/sh
# Runs a program and keeps what it prints.
#
#   generate.sh FILE PROGRAM [ARGUMENT…]
#
# The program sees no variables of the build, so that it prints the same everywhere.
set -eu
file=$1
shift
mkdir -p "$(dirname "$file")"
work=$(mktemp -d)
status=0
(cd "$work" && env -i PATH="$PATH" HOME="$work" LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" timeout 60 "$@") </dev/null >"$file" 2>"$work.log" || status=$?
name=${1##*/}
shift
if [ "$status" -ne 0 ]; then
	echo "gantry: \"$name $*\" ended with status $status: try it, and fix generate in [package.metadata.gantry]; it printed:" >&2
	tail -n 20 "$work.log" "$file" >&2
	exit 1
fi
if [ ! -s "$file" ]; then
	echo "gantry: \"$name $*\" printed nothing: generate in [package.metadata.gantry] keeps what a binary prints to standard output" >&2
	tail -n 20 "$work.log" >&2
	exit 1
fi
