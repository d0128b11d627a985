#!/bin/sh
# Keeps paths of the build out of binaries. RUSTFLAGS would too, but would override
# the flags in the project's .cargo/config.toml.
rustc=$1
shift
# conditions.sh sets the two variables for a build in another place.
# shellcheck disable=SC2086 # words
exec "$rustc" "$@" --remap-path-prefix="${GANTRY_SRC:-/gantry/src}"=. --remap-path-prefix="${CARGO_HOME:-$HOME/.cargo}"=/cargo ${GANTRY_REMAP-}
