#!/bin/sh
# Keeps paths of the build out of binaries. RUSTFLAGS would do so too, but
# would put out of force whatever flags the project's .cargo/config.toml has.
rustc=$1
shift
exec "$rustc" "$@" --remap-path-prefix=/gantry/src=. --remap-path-prefix="${CARGO_HOME:-$HOME/.cargo}"=/cargo
