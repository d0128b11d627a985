# shellcheck shell=sh
# Sourced by the scripts that call cargo.
#
# rustup would download the toolchain that rust-toolchain.toml names. The image was
# chosen to have it, so use the image's.
if [ -z "${RUSTUP_TOOLCHAIN-}" ] && command -v rustup >/dev/null; then
	RUSTUP_TOOLCHAIN=$(cd / && rustup show active-toolchain | cut -d ' ' -f 1)
	export RUSTUP_TOOLCHAIN
fi
