#!/bin/sh
# Copies the files named by the arguments, from the working directory, into
# the folder $1. Links are followed, but not out of the source.
set -eu
out=$1
shift
mkdir -p "$out"
root=$(pwd -P)
for f in "$@"; do
	real=$(readlink -f "$f") || real=
	if [ ! -f "$real" ]; then
		echo "gantry: \"$f\" is a link to something that is no file: mend it or leave it out of include" >&2
		exit 1
	fi
	case $real in
	"$root"/*) ;;
	*)
		echo "gantry: \"$f\" is a link that leaves the source, to \"$real\": put a copy there instead" >&2
		exit 1
		;;
	esac
	mkdir -p "$out/$(dirname "$f")"
	cp "$real" "$out/$f"
done
