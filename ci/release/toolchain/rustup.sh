# shellcheck shell=sh
# Sourced by the scripts that call cargo.
#
# rustup would download whatever rust-toolchain.toml names. The image was
# chosen to have just that, so its own toolchain is the one to use.
if [ -z "${RUSTUP_TOOLCHAIN-}" ] && command -v rustup >/dev/null; then
	RUSTUP_TOOLCHAIN=$(cd / && rustup show active-toolchain | cut -d ' ' -f 1)
	export RUSTUP_TOOLCHAIN
fi
