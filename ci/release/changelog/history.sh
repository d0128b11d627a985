#!/bin/sh
# Writes into the directory $2 the history of the commit $1 and the messages of tags
# of the repository in the working directory (read by
# ci/release/changelog/sections).
set -eu
# The repository belongs to another user, and is only read. Git-cliff doesn't
# follow git's replacement objects.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_OPTIONAL_LOCKS=0 GIT_CONFIG_NOSYSTEM=1 GIT_NO_REPLACE_OBJECTS=1

mkdir -p "$2"
git rev-list --topo-order --timestamp --parents "$1" >"$2/commits"
git for-each-ref --format='%(objecttype)%00%(refname:strip=2)%00%(contents)%00' refs/tags >"$2/tags"
