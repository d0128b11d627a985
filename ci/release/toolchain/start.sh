#!/bin/sh
# Starts the program $1 with --version, and writes its output and its exit status to
# the file $2.
#
# It only has to start: it may not know the option, and a server may run for ever.
set -eu
program=$1
if [ ! -x "$program" ]; then
	# Files that went through a CI's artifacts have lost their modes.
	program=$(mktemp -d)/${1##*/}
	cp "$1" "$program"
	chmod +x "$program"
fi
mkdir -p "$(dirname "$2")"
status=0
(cd "$(mktemp -d)" && env -i PATH="$PATH" HOME=/nonexistent timeout 10 "$program" --version) \
	</dev/null >"$2" 2>&1 || status=$?
echo "exit status $status" >>"$2"
