# shellcheck shell=sh disable=SC2154 # build.sh sets tmp
# Sourced by build.sh: shares downloaded crates between projects.
#
# Cargo verifies neither the crates in its cache nor unpacked sources, so this
# doesn't share them directly: whoever can write there could change every release.
# It copies other builds' crates from /gantry-crates and compares the copies with
# Cargo.lock.
crates=/gantry-crates
cache=${CARGO_HOME:-$HOME/.cargo}/registry/cache

# locked_crates prints the SHA-256 and the file name of each crate in Cargo.lock.
locked_crates() {
	[ ! -f Cargo.lock ] || tr -d '"\r' <Cargo.lock | awk '
		$1 == "name" { name = $3 }
		$1 == "version" { version = $3 }
		$1 == "checksum" && $2 == "=" { print $3 "  " name "-" version ".crate" }
		# The first version of the format has them in a table.
		$1 == "checksum" && NF > 4 { print $NF "  " $2 "-" $3 ".crate" }
	' | grep -E '^[0-9a-f]{64}  [A-Za-z0-9_.+-]+$' | LC_ALL=C sort -u || true
}

# files_of DIRECTORY prints the names of the crates in it.
files_of() { (cd "$1" && find . -maxdepth 1 -type f -name '*.crate') | sed 's#^\./##' | LC_ALL=C sort; }

# verified DIRECTORY prints the names of the crates in it that match Cargo.lock.
verified() {
	files_of "$1" >"$tmp/files"
	while read -r sum file; do
		if grep -qxF "$file" "$tmp/files"; then echo "$sum  $1/$file"; fi
	done <"$tmp/locked" >"$tmp/sums"
	[ ! -s "$tmp/sums" ] || sha256sum -c "$tmp/sums" 2>/dev/null | sed -n 's#.*/\([^/]*\): OK$#\1#p' | LC_ALL=C sort
}

# take_crates copies the crates of Cargo.lock that other builds have downloaded.
take_crates() {
	locked_crates >"$tmp/locked"
	cut -c 67- "$tmp/locked" | LC_ALL=C sort >"$tmp/wanted"
	[ -s "$tmp/wanted" ] || return 0
	for index in "$crates"/*/; do
		[ -d "$index" ] || continue
		own=$cache/$(basename "$index")
		mkdir -p "$own"
		files_of "$index" >"$tmp/shared"
		files_of "$own" >"$tmp/own"
		LC_ALL=C comm -12 "$tmp/wanted" "$tmp/shared" | LC_ALL=C comm -23 - "$tmp/own" >"$tmp/take"
		[ -s "$tmp/take" ] || continue
		while read -r file; do cat "$index/$file" >"$own/$file"; done <"$tmp/take"
		verified "$own" >"$tmp/good"
		LC_ALL=C comm -23 "$tmp/take" "$tmp/good" | while read -r file; do
			echo "gantry: a cached copy of $file does not match Cargo.lock; downloading it again" >&2
			rm -f "$own/$file"
		done
	done
}

# share_crates gives the downloaded crates to other builds, even after a failure.
share_crates() {
	for own in "$cache"/*/; do
		[ -d "$own" ] || continue
		index=$crates/$(basename "$own")
		mkdir -p "$index"
		verified "$own" >"$tmp/good"
		verified "$index" >"$tmp/shared"
		LC_ALL=C comm -23 "$tmp/good" "$tmp/shared" | while read -r file; do
			cp "$own/$file" "$index/.$$.part" && mv -f "$index/.$$.part" "$index/$file"
		done
	done
}
