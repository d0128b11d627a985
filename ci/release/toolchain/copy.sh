# shellcheck shell=sh disable=SC2154 # build.sh sets tmp
# Sourced by build.sh: keeps a copy of the source between builds.
#
# Cargo decides by modification times what to compile. Those of an upload mean
# nothing: an older file may have newer content. So this updates the copy by
# content, and whatever differs gets the current time, which is later than every
# earlier build. A binary is never stale, and unchanged code stays compiled.
#
# It reads only what may differ. A record beside the copy has what stat tells of each
# file, and its SHA-256 once that was needed. A file of the copy that stat tells the same
# of was not written since: each write changes the time in %Z, which no program can set.

# states DIRECTORY prints the state of each file: inode, size, times of the last
# modification and of the last change, in seconds, and path.
states() { (cd "$1" && find . -type f -exec stat -c '%i %s %Y %Z %n' {} +); }

# sums DIRECTORY PATHS prints the SHA-256 of files, on all processors.
sums() {
	[ -s "$2" ] || return 0
	# Each process writes into its own file, so that no lines get mixed up.
	rm -f "$tmp"/sums.*
	# shellcheck disable=SC2016 # the variables are those of the inner shell
	(cd "$1" && tr '\n' '\0' <"$2" | xargs -0 -n 200 -P "$(nproc)" sh -c 'sha256sum "$@" >>"$0.$$"' "$tmp/sums")
	cat "$tmp"/sums.*
	rm -f "$tmp"/sums.*
}
paths() { cut -c 67- | LC_ALL=C sort; }
programs() { (cd "$1" && find . -type f -perm -100 | LC_ALL=C sort) >"$2"; }

# compare RECORD CONTENT decides by the states in $tmp/from and $tmp/to what must happen
# to each file, and writes paths: removed (only in the copy), changed (only in the
# source, or of another size), read.from and read.to (whose content must be compared).
# known.from and known.to have the sums of those that are compared and not read.
compare() {
	: >"$tmp/removed" && : >"$tmp/changed"
	: >"$tmp/read.from" && : >"$tmp/read.to" && : >"$tmp/known.from" && : >"$tmp/known.to"
	[ -f "$1" ] || : >"$1"
	# shellcheck disable=SC2016 # the variables are awk's
	LC_ALL=C awk -v content="$2" -v dir="$tmp/" '
		# split_state sets inode, size, modified, changed and path.
		function split_state(state) {
			split(state, field, " ")
			size = field[2]
			changed = field[4]
			path = substr(state, length(field[1]) + length(field[2]) + length(field[3]) + length(field[4]) + 5)
		}
		# The record: its time and the content of its source, then sums and states.
		part == "record" && FNR == 1 { since = $1; same = content != "" && $2 == content; next }
		part == "record" {
			state = substr($0, length($1) + 2)
			split_state(state)
			# One that was written in the same second may have been written again.
			if (changed < since - 1) { recorded[path] = state }
			sum[path] = $1
			next
		}
		part == "to" {
			split_state($0)
			have[path] = size
			if (recorded[path] == $0) { kept[path] } else { written[path] }
			next
		}
		{
			split_state($0)
			if (!(path in have) || have[path] != size) {
				print path >(dir "changed")
			} else if (!same || path in written) {
				if (same && sum[path] ~ /^[0-9a-f]/) { print sum[path] "  " path >(dir "known.from") } else { print path >(dir "read.from") }
				if (path in kept && sum[path] ~ /^[0-9a-f]/) { print sum[path] "  " path >(dir "known.to") } else { print path >(dir "read.to") }
			}
			delete have[path]
		}
		END { for (path in have) { print path >(dir "removed") } }
	' part=record "$1" part=to "$tmp/to" part=from "$tmp/from"
}

# record DIRECTORY CONTENT prints the record of the copy. $tmp/changed has the files
# whose sums are not known, $tmp/new those that are, and $tmp/record the last record.
record() {
	echo "$(date +%s) $2"
	states "$1" >"$tmp/to"
	# shellcheck disable=SC2016 # the variables are awk's
	LC_ALL=C awk '
		part == "record" && FNR > 1 {
			split($0, field, " ")
			sum[substr($0, length(field[1]) + length(field[2]) + length(field[3]) + length(field[4]) + length(field[5]) + 6)] = field[1]
		}
		part == "changed" { delete sum[$0] }
		part == "new" { sum[substr($0, 67)] = $1 }
		part == "to" {
			split($0, field, " ")
			path = substr($0, length(field[1]) + length(field[2]) + length(field[3]) + length(field[4]) + 5)
			print (path in sum ? sum[path] : "-") " " $0
		}
	' part=record "$tmp/record" part=changed "$tmp/changed" part=new "$tmp/new" part=to "$tmp/to"
}

# copy_source FROM TO RECORD CONTENT makes the directory TO the same as FROM. RECORD is
# the file with the record of TO. CONTENT identifies the content of FROM, or is empty.
copy_source() {
	from=$1 to=$2
	# An interrupted copy leaves no record.
	mv "$3" "$tmp/record" 2>/dev/null || : >"$tmp/record"
	states "$from" >"$tmp/from"
	states "$to" >"$tmp/to"
	compare "$tmp/record" "$4"
	sums "$from" "$tmp/read.from" >>"$tmp/known.from"
	sums "$to" "$tmp/read.to" >>"$tmp/known.to"
	LC_ALL=C sort "$tmp/known.from" >"$tmp/new"
	LC_ALL=C sort "$tmp/known.to" >"$tmp/old"
	LC_ALL=C comm -23 "$tmp/new" "$tmp/old" | paths >>"$tmp/changed"
	# The counts have no spaces in front in GNU's wc only.
	echo "gantry: read" $(wc -l <"$tmp/read.from") "files of the source and" $(wc -l <"$tmp/read.to") "of its last copy; copied" $(wc -l <"$tmp/changed"), "removed" $(wc -l <"$tmp/removed") >&2

	tr '\n' '\0' <"$tmp/removed" | (cd "$to" && xargs -0 -r rm -f)
	(cd "$to" && find . -mindepth 1 -type d -empty -delete)
	if [ -s "$tmp/changed" ]; then
		# A directory or link may be in the place of a file.
		while IFS= read -r f; do
			if [ -L "$to/$f" ] || [ -d "$to/$f" ]; then rm -rf "${to:?}/$f"; fi
		done <"$tmp/changed"
		tar -C "$from" -cf - -T "$tmp/changed" | tar -C "$to" -m -xf -
	fi
	programs "$from" "$tmp/new.x"
	programs "$to" "$tmp/old.x"
	LC_ALL=C comm -23 "$tmp/new.x" "$tmp/old.x" | tr '\n' '\0' | (cd "$to" && xargs -0 -r chmod a+x)
	LC_ALL=C comm -13 "$tmp/new.x" "$tmp/old.x" | tr '\n' '\0' | (cd "$to" && xargs -0 -r chmod a-x)
	copy_links
	record "$to" "$4" >"$3.new"
	mv "$3.new" "$3"
}

# copy_links makes the symbolic links of $to the same as those of $from.
copy_links() {
	(cd "$to" && find . -type l) >"$tmp/old.links"
	while IFS= read -r l; do
		[ -L "$from/$l" ] || rm -f "$to/$l"
	done <"$tmp/old.links"
	(cd "$from" && find . -type l) >"$tmp/links"
	while IFS= read -r l; do
		if [ "$(readlink "$to/$l" || true)" != "$(readlink "$from/$l")" ]; then
			mkdir -p "$(dirname "$to/$l")"
			rm -rf "${to:?}/$l"
			cp -P "$from/$l" "$to/$l"
			# Cargo reads the time of the file behind the link, which may be old.
			touch -c "$to/$l"
		fi
	done <"$tmp/links"
}
