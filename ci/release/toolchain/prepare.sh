#!/bin/sh
# Prepares a toolchain container to build some targets, or reports why it can't. It
# installs only what is missing. Each target has seven arguments:
#
#   triple    the target
#   linker    the command that must link it; empty for Cargo's default
#   tools     Debian packages with the linker and the C library
#   specs     gcc's specs file of musl, and
#   musl_cc   the name of the C compiler to make of it; empty for none
#   packages  Debian packages of the project, for the target
#   debian    Debian's name of the target's architecture
set -eu
triple=$1
fail() {
	echo "gantry: target \"$triple\": $*" >&2
	exit 1
}
# shellcheck source=rustup.sh
. /gantry-bin/rustup.sh

install() {
	command -v apt-get >/dev/null ||
		fail "needs $*, and the toolchain container has no apt-get to install it: pass --toolchain with a container that has it"
	# Cross compilers are packages of the machine's own architecture.
	case " $* " in *":$debian "*) foreign=$debian ;; *) foreign= ;; esac
	if [ -n "$foreign" ] && [ "$(dpkg --print-architecture)" != "$foreign" ]; then
		dpkg --add-architecture "$foreign"
	fi
	apt-get -o Acquire::Retries=3 update -qq >&2 || fail "apt-get update failed, so it can't install $*"
	DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o Acquire::http::Timeout=60 \
		install -y -qq --no-install-recommends "$@" >&2 || fail "apt-get can't install $*"
	rm -rf /var/lib/apt/lists/*
}

has_std() {
	dir=$(rustc --print target-libdir --target "$triple" 2>/dev/null) || return 1
	ls "$dir"/libstd-*.rlib >/dev/null 2>&1
}
while [ $# -gt 0 ]; do
	triple=$1 linker=$2 tools=$3 specs=$4 musl_cc=$5 packages=$6 debian=$7
	shift 7
	if ! has_std; then
		command -v rustup >/dev/null ||
			fail "the toolchain container has no standard library for it, nor rustup to add it: pass --toolchain with a container that has it"
		rustup target add "$triple" >&2 ||
			fail "rustup can't add its standard library: pass --toolchain with a container that has it"
	fi

	if [ -n "$linker" ] && ! command -v "$linker" >/dev/null ||
		[ -n "$specs" ] && [ ! -e "$specs" ]; then
		# shellcheck disable=SC2086 # a list of package names
		install $tools
	fi
	# Debian's C compiler of musl for arm64 calls libgcc for atomics, which needs a
	# function that only glibc has: programs that link dynamically fail, among them the
	# tests of configure scripts. One with another option comes first on the PATH.
	flags=
	case $musl_cc in aarch64-*) flags=" -mno-outline-atomics" ;; esac
	found=$(command -v "$musl_cc" || true)
	if [ -n "$musl_cc" ] && { [ -z "$found" ] || [ "$flags" ] && [ "$found" = "/usr/bin/$musl_cc" ]; }; then
		printf '#!/bin/sh\nexec %s "$@"%s -specs %s\n' "$linker" "$flags" "$specs" >"/usr/local/bin/$musl_cc"
		chmod +x "/usr/local/bin/$musl_cc"
	fi
	if [ -n "$packages" ]; then
		# shellcheck disable=SC2086
		install $packages
	fi
done
# A build reuses only the results of the same packages (read by build.go).
{
	dpkg-query --show 2>/dev/null || true
	cat /usr/local/bin/*-musl*-gcc 2>/dev/null || true
	rustc -vV
	find "$(rustc --print sysroot)/lib/rustlib" -name '*.rlib' | LC_ALL=C sort
} >/gantry-prepared
rustc --version >&2
