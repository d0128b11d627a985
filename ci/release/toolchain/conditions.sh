# shellcheck shell=sh disable=SC2154 # build.sh sets out
# Sourced by build.sh if its result is compared with that of another build. GANTRY_CONDITIONS
# is "usual" for a build like that of a release, and "other" for one that differs in
# everything that a result must not depend on. build.go sets GANTRY_SRC, CARGO_TARGET_DIR
# and CARGO_HOME for it, and GANTRY_CARGO_HOME has the usual value of the last.
#
# /gantry-out gets
#   conditions     what a build sees: a line for each fact, its name, a tab and its value
#   scripts/…      the files and the output of build scripts, each at its path in the
#                  target directory
#   scripts.sums   their SHA-256
conditions=$out/conditions
download() { :; }

if [ "$GANTRY_CONDITIONS" = other ]; then
	elsewhere=/gantry/2
	user=gantry-second
	mkdir -p "$elsewhere/home" "$elsewhere/tmp" "$CARGO_TARGET_DIR" "$CARGO_HOME"
	for file in "$GANTRY_CARGO_HOME"/config "$GANTRY_CARGO_HOME"/config.toml; do
		[ ! -f "$file" ] || cp "$file" "$CARGO_HOME"
	done
	# Cargo also looks there for its subcommands.
	[ ! -d "$GANTRY_CARGO_HOME/bin" ] || ln -sfn "$GANTRY_CARGO_HOME/bin" "$CARGO_HOME/bin"
	# What a release maps keeps its name, and the rest gets the name that it has there.
	export GANTRY_REMAP="--remap-path-prefix=$CARGO_TARGET_DIR=/gantry/target"
	# shellcheck disable=SC2034 # build.sh reads it
	maps="-ffile-prefix-map=$CARGO_TARGET_DIR=/gantry/target -ffile-prefix-map=$CARGO_HOME=$GANTRY_CARGO_HOME "

	# Another number of processors: half of them.
	pin='' jobs=2
	processors=$(nproc)
	if [ "$processors" -gt 1 ]; then
		jobs=$((processors / 2))
		if command -v taskset >/dev/null; then
			pin="taskset -c $(taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' | awk -F- -v n="$jobs" '
				{ for (i = $1; i <= $NF && n > 0; i++) { printf "%s%d", sep, i; sep = ","; n-- } }')"
		fi
	fi

	# apart COMMAND… runs a command in the other place, and under COMMAND… also as another
	# user and with another clock.
	apart() {
		# shellcheck disable=SC2086 # words
		env HOME="$elsewhere/home" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" TMPDIR="$elsewhere/tmp" \
			USER="$user" LOGNAME="$user" HOSTNAME=gantry-elsewhere LANG=C.UTF-8 LC_ALL=C.UTF-8 TZ=GANTRY-11:37 \
			CARGO_BUILD_JOBS="$jobs" $pin "$@"
	}
	as='' preload=''
	under() {
		# shellcheck disable=SC2086 # words
		apart env $preload $as sh -c 'umask 027; exec "$@"' sh "$@"
	}
	if command -v setpriv >/dev/null && [ "$(id -u)" = 0 ]; then
		echo "$user:x:4242:4242::$elsewhere/home:/bin/sh" >>/etc/passwd
		as='setpriv --reuid=4242 --regid=4242 --clear-groups'
		# The toolchain may be where only root can read it.
		under cargo --version >/dev/null 2>&1 || as=
	fi
	# 400 days and some hours later, so that each part of a date differs.
	offset=34578431
	shim=$elsewhere/shim.so
	if cc -shared -fPIC -O1 "-DOFFSET=$offset" -o "$shim" /gantry-bin/shim/shim.c -ldl 2>/dev/null; then
		chmod 755 "$shim"
		preload="LD_PRELOAD=$shim"
		[ "$(under date +%s 2>/dev/null || echo 0)" -ge "$(($(date +%s) + offset - 60))" ] || preload=
	fi

	# Certificates are not valid under the other clock, so what the build needs is
	# downloaded before.
	download() {
		if [ -z "${CARGO_NET_OFFLINE-}" ]; then
			set --
			for triple in $GANTRY_TARGETS $(rustc -vV | sed -n 's/^host: //p'); do
				set -- "$@" --target "$triple"
			done
			cargo fetch --locked "$@" 9>&-
			export CARGO_NET_OFFLINE=true
		fi
		[ -z "$as" ] || chown -R 4242:4242 "$elsewhere" "$CARGO_HOME"
	}
fi

# fact NAME VALUE records a fact.
fact() { printf '%s\t%s\n' "$1" "$2" >>"$conditions"; }

# record_start records what the build sees.
record_start() {
	listed=$(mktemp -d)
	touch "$listed/a" "$listed/b" "$listed/c"
	chmod -R a+rX "$listed"
	fact 'source directory' "$src"
	fact 'target directory' "$CARGO_TARGET_DIR"
	fact "Cargo's home" "${CARGO_HOME:-$HOME/.cargo}"
	# shellcheck disable=SC2016 # the variables are those of the build
	under sh -c '
		printf "home\t%s\n" "$HOME"
		printf "directory of temporary files\t%s\n" "${TMPDIR:-/tmp}"
		printf "user\t%s\n" "$(id -un 2>/dev/null || id -u)"
		printf "user ID\t%s\n" "$(id -u)"
		printf "umask\t%s\n" "$(umask)"
		printf "locale\t%s\n" "${LC_ALL:-${LANG:-none}}"
		printf "time zone\t%s\n" "${TZ:-UTC}"
		printf "HOSTNAME\t%s\n" "${HOSTNAME:-none}"
		printf "processors\t%s\n" "$(nproc)"
		printf "jobs of Cargo\t%s\n" "${CARGO_BUILD_JOBS:-$(nproc)}"
		printf "order of directories\t%s\n" "$(echo $(ls -U "$1"))"
		printf "host name\t%s\n" "$(uname -n)"
		printf "kernel\t%s\n" "$(uname -r)"
		printf "machine\t%s\n" "$(uname -m)"
		printf "start\t%s\n" "$(date +%s)"
	' sh "$listed" 9>&- >>"$conditions"
}

# record_end keeps what tells where a difference starts, and frees the rest.
record_end() {
	fact end "$(under date +%s)"
	mkdir -p "$out/scripts"
	(
		cd "$CARGO_TARGET_DIR" || exit
		find . -path '*/build/*' -type f \( -path '*/out/*' -o -name output \) -size -2048 -print |
			LC_ALL=C sort | head -n 5000 >"$tmp/scripts"
		tar -cf - -T "$tmp/scripts" | tar -C "$out/scripts" -xf -
	)
	(cd "$out/scripts" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum) >"$out/scripts.sums"
	# No other build finds these caches.
	cd /
	home=${CARGO_HOME:-$HOME/.cargo}
	rm -rf "$src" "$CARGO_TARGET_DIR" "$home"/registry/* "$home"/git/*
}
