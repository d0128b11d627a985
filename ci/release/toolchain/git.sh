#!/bin/sh
# Prints the state of the repository in the working directory, a keyword and its
# value on each line (read by ci/release/plan, ReadGit). $1 is the directory of the
# workspace in it.
set -eu
# The source belongs to another user, and is only read.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_OPTIONAL_LOCKS=0 GIT_CONFIG_NOSYSTEM=1

# A failure must never look like an empty answer: it ends this script, and the plan
# reports it.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
ask() {
	if ! git "$@" >"$tmp/answer" 2>"$tmp/error"; then
		printf 'failed git %s: %s\n' "$(for word; do case $word in -c | *=*) ;; *) printf %s "$word" && break ;; esac; done)" \
			"$(grep -v '^warning:' "$tmp/error" | tr '\n' ' ')"
		exit 0
	fi
}

if [ -f .git ]; then
	echo worktree
	exit 0
fi
[ -d .git ] || exit 0
echo present
ask rev-parse --is-shallow-repository
echo "shallow $(cat "$tmp/answer")"
status=0
head=$(git rev-parse --verify --quiet 'HEAD^{commit}' 2>"$tmp/error") || status=$?
if [ "$status" -ne 0 ]; then
	# A branch without a commit is fine, but an unreadable commit is an error.
	! grep -q . "$tmp/error" || ask cat-file commit HEAD
	ask for-each-ref --count=1
	[ -s "$tmp/answer" ] && ask cat-file commit HEAD
	exit 0
fi
echo "head $head"
ask show --no-patch --format=%ct HEAD
echo "time $(cat "$tmp/answer")"
# Annotated tags are peeled; tags of other objects than commits are skipped.
tags() { ask for-each-ref "$@" --format='%(objecttype) %(objectname) %(*objecttype) %(*objectname) %(refname:strip=2)' refs/tags; }
tags
sed -n 's/^commit \([0-9a-f]*\)   /tag \1 /p; s/^tag [0-9a-f]* commit \([0-9a-f]*\) /tag \1 /p' "$tmp/answer"
tags --merged HEAD
sed -n 's/^commit \([0-9a-f]*\)   /reachable \1 /p; s/^tag [0-9a-f]* commit \([0-9a-f]*\) /reachable \1 /p' "$tmp/answer"

# This compares files in Git LFS with their pointers, since the program of its
# filter is missing here.
lfs_oid() { sed -n 's/^oid sha256://p'; }
ask -c core.fileMode=false -c core.quotePath=false -c filter.lfs.clean= -c filter.lfs.process= -c filter.lfs.required=false \
	status --porcelain=v1 --untracked-files=all
cp "$tmp/answer" "$tmp/status"
while IFS= read -r line; do
	file=${line#???}
	case $file in '"'*'"') file=${file#?} file=${file%?} ;; esac
	# The lock file of a Dagger client is not part of the project.
	[ "$file" != dagger.lock ] || continue
	case $line in
	' M '*)
		if [ "$(git check-attr filter -- "$file")" = "$file: filter: lfs" ] &&
			[ "$(git cat-file blob ":$file" | lfs_oid)" = "$(sha256sum <"$file" | cut -d ' ' -f 1)" ]; then
			continue
		fi
		# A checkout that rewrites line endings changes every file.
		if git -c core.autocrlf=false diff --quiet --ignore-cr-at-eol -- "$file" 2>/dev/null; then printf 'eol %s\n' "$file"; fi
		;;
	esac
	printf 'dirty %s\n' "$line"
done <"$tmp/status"
# A file of a few lines that is in Git LFS may be the pointer itself.
ask -c core.quotePath=false ls-files -- ':(attr:filter=lfs)'
while IFS= read -r file; do
	if [ -f "$file" ] && [ "$(head -c 200 "$file" | tr -d '\0' | lfs_oid)" ]; then
		printf 'pointer %s\n' "$file"
	fi
done <"$tmp/answer"
# A submodule that is not checked out is an empty directory.
ask -c core.quotePath=false ls-files --stage
sed -n 's/^160000 [0-9a-f]* 0	//p' "$tmp/answer" | while IFS= read -r dir; do
	[ -e "$dir/.git" ] || printf 'submodule %s\n' "$dir"
done
status=0
git check-ignore --quiet "$1/Cargo.lock" 2>"$tmp/error" || status=$?
case $status in
0) echo "ignored Cargo.lock" ;;
1) ;;
*) ask check-ignore "$1/Cargo.lock" ;;
esac
# The URL of a CI's checkout may carry a token, which must not leak.
git config --get remote.origin.url | sed 's#://[^/@]*@#://#; s/^/origin /' || true
