#!/bin/sh
# Downloads the crates and repositories of Cargo.lock with the caller's logins.
#
#   fetch.sh DIRECTORY
#
# DIRECTORY holds the workspace in the source. Only this script gets the logins, and
# it compiles nothing: no build script or procedural macro runs beside them. Builds
# then use the downloads offline.
#
# /gantry-input  the source
# /gantry-ca     certificates to trust in addition to the system's, if there are any
# /gantry-out    results, as in Cargo's home: registry/index, registry/cache, git/db
#
# The variable GANTRY_GIT_ADDRESS_0 is the address of a git server, GANTRY_GIT_USER_0
# and GANTRY_GIT_SECRET_0 are the login; 1 and so on are more of them. Cargo reads its
# own variables, CARGO_REGISTRIES_NAME_TOKEN.
set -eu
# shellcheck source=rustup.sh
. /gantry-bin/rustup.sh
out=/gantry-out home=${CARGO_HOME:-$HOME/.cargo}

# One at a time: the directories may be caches.
mkdir -p "$home/registry"
exec 9>>"$home/registry/gantry-lock"
flock 9

# config KEY VALUE sets a key of git's configuration in the environment.
settings=0
config() {
	export "GIT_CONFIG_KEY_$settings=$1" "GIT_CONFIG_VALUE_$settings=$2"
	settings=$((settings + 1))
	export GIT_CONFIG_COUNT=$settings
}
i=0
while eval "address=\${GANTRY_GIT_ADDRESS_$i-}" && [ -n "$address" ]; do
	command -v git >/dev/null || {
		echo "gantry: the toolchain container has no git, which fetches dependencies with a login: install git in it" >&2
		exit 1
	}
	config "credential.$address.helper" "!f() { if [ \"\$1\" = get ]; then echo \"username=\$GANTRY_GIT_USER_$i\"; echo \"password=\$GANTRY_GIT_SECRET_$i\"; fi; }; f"
	# Cargo.toml may name the same repositories for SSH.
	host=${address#*://}
	config "url.$address/.insteadOf" "ssh://git@$host/"
	config "url.$address/.insteadOf" "git@$host:"
	i=$((i + 1))
done
# Cargo's own git client asks no credential helper for each address.
export CARGO_NET_GIT_FETCH_WITH_CLI=true GIT_TERMINAL_PROMPT=0 CARGO_TERM_COLOR=never
# Tokens are in the environment, whatever else the project is used to.
export CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS=cargo:token
if [ -f /gantry-ca ]; then
	cat /etc/ssl/certs/ca-certificates.crt /gantry-ca >/tmp/gantry-ca 2>/dev/null || cp /gantry-ca /tmp/gantry-ca
	export CARGO_HTTP_CAINFO=/tmp/gantry-ca GIT_SSL_CAINFO=/tmp/gantry-ca
fi

cd "/gantry-input/$1"
cargo fetch --locked
for part in registry/index registry/cache git/db; do
	mkdir -p "$out/$part"
	[ ! -d "$home/$part" ] || cp -r "$home/$part/." "$out/$part"
done
