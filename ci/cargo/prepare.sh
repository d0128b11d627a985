#!/bin/sh
# Makes a toolchain container able to build one target, or says why it can't.
# Nothing is installed that is there already.
#
#   GANTRY_TRIPLE    the target
#   GANTRY_LINKER    the command that must link it; empty: whatever Cargo uses
#   GANTRY_INSTALL   Debian packages that bring the linker and the C library
#   GANTRY_SPECS     gcc's specs file of musl, and
#   GANTRY_MUSL_CC   the name of the C compiler to make of it; empty: none
#   GANTRY_PACKAGES  Debian packages of the project's, for the target
#   GANTRY_DEBIAN    Debian's name of the target's architecture
set -eu
fail() {
	echo "gantry: target \"$GANTRY_TRIPLE\": $*" >&2
	exit 1
}
command -v cargo >/dev/null || fail "the toolchain container has no cargo on its PATH: pass --toolchain with one that has"
# shellcheck source=rustup.sh
. /gantry-bin/rustup.sh

install() {
	command -v apt-get >/dev/null ||
		fail "needs $*, and the toolchain container has no apt-get to install it: pass --toolchain with a container that has it"
	if [ -n "$GANTRY_DEBIAN" ] && [ "$(dpkg --print-architecture)" != "$GANTRY_DEBIAN" ]; then
		dpkg --add-architecture "$GANTRY_DEBIAN"
	fi
	apt-get -o Acquire::Retries=3 update -qq >&2 || fail "the package lists could not be read, to install $*"
	DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o Acquire::http::Timeout=60 \
		install -y -qq --no-install-recommends "$@" >&2 || fail "could not install $*"
	rm -rf /var/lib/apt/lists/*
}

has_std() {
	dir=$(rustc --print target-libdir --target "$GANTRY_TRIPLE" 2>/dev/null) || return 1
	ls "$dir"/libstd-*.rlib >/dev/null 2>&1
}
if ! has_std; then
	command -v rustup >/dev/null ||
		fail "the toolchain container has no standard library for it, nor rustup to add it: pass --toolchain with a container that has it"
	rustup target add "$GANTRY_TRIPLE" >&2 ||
		fail "rustup could not add its standard library: pass --toolchain with a container that has it"
fi

if [ -n "$GANTRY_LINKER" ] && ! command -v "$GANTRY_LINKER" >/dev/null ||
	[ -n "$GANTRY_SPECS" ] && [ ! -e "$GANTRY_SPECS" ]; then
	# shellcheck disable=SC2086 # a list of package names
	install $GANTRY_INSTALL
fi
if [ -n "$GANTRY_MUSL_CC" ] && ! command -v "$GANTRY_MUSL_CC" >/dev/null; then
	printf '#!/bin/sh\nexec %s "$@" -specs %s\n' "$GANTRY_LINKER" "$GANTRY_SPECS" >"/usr/local/bin/$GANTRY_MUSL_CC"
	chmod +x "/usr/local/bin/$GANTRY_MUSL_CC"
fi
if [ -n "$GANTRY_PACKAGES" ]; then
	# shellcheck disable=SC2086
	install $GANTRY_PACKAGES
fi
rustc --version >&2
