#!/bin/sh
# Keeps paths of the build out of binaries. RUSTFLAGS would too, but would override
# the flags in the project's .cargo/config.toml.
rustc=$1
shift
exec "$rustc" "$@" --remap-path-prefix=/gantry/src=. --remap-path-prefix="${CARGO_HOME:-$HOME/.cargo}"=/cargo
