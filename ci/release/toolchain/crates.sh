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

# verified DIRECTORY LIST prints the names of the crates in a list, a sorted file, that
# are in a directory as Cargo.lock has them.
verified() {
	# shellcheck disable=SC2016 # the variables are awk's
	awk -v dir="$1" 'NR == FNR { listed[$0]; next } substr($0, 67) in listed { print substr($0, 1, 66) dir "/" substr($0, 67) }' \
		"$2" "$tmp/locked" >"$tmp/sums"
	[ ! -s "$tmp/sums" ] || sha256sum -c "$tmp/sums" 2>/dev/null | sed -n 's#.*/\([^/]*\): OK$#\1#p' | LC_ALL=C sort -u
}

# take_crates copies the crates of Cargo.lock that other builds have downloaded.
take_crates() {
	: >"$tmp/broken"
	locked_crates >"$tmp/locked"
	cut -c 67- "$tmp/locked" | LC_ALL=C sort -u >"$tmp/wanted"
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
		verified "$own" "$tmp/take" >"$tmp/good"
		LC_ALL=C comm -23 "$tmp/take" "$tmp/good" | while read -r file; do
			echo "gantry: a cached copy of $file does not match Cargo.lock; downloading it again" >&2
			rm -f "$own/$file"
			echo "$index$file" >>"$tmp/broken"
		done
	done
}

# share_crates gives other builds the crates that they lack, even after a failure, and
# replaces broken copies.
share_crates() {
	[ -s "$tmp/wanted" ] || return 0
	for own in "$cache"/*/; do
		[ -d "$own" ] || continue
		index=$crates/$(basename "$own")
		mkdir -p "$index"
		while read -r file; do
			if grep -qxF "$index/$file" "$tmp/broken" || ! [ -f "$index/$file" ]; then echo "$file"; fi
		done <"$tmp/wanted" >"$tmp/give"
		verified "${own%/}" "$tmp/give" | while read -r file; do
			cp "$own/$file" "$index/.$$.part" && mv -f "$index/.$$.part" "$index/$file"
		done
	done
}
