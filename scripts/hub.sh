# shellcheck shell=bash
# The fake GitHub (ci/fakehub) as a process, and calls for it. Source it after
# lib.sh.

# hub_start SOURCE REPOSITORY TOKEN starts one that knows the tags of a git
# repository. It sets HUB, its process; HUB_PORT; hub, the arguments by which a call
# reaches it; and images, those of phase 2 on it, with base images from the local
# registry.
hub_start() {
  local source=$1 name commit args=(-listen 0.0.0.0:0 -token "$3" -repo "$2")
  (cd "$GANTRY_ROOT" && go build -o "$GANTRY_CACHE/fakehub" ./ci/fakehub/cmd/fakehub)
  while read -r name; do
    commit=$(git -C "$source" rev-list -1 "$name")
    args+=(-commit "$commit@$(git -C "$source" log -1 --format=%ct "$name")" -tag "$name=$commit")
  done < <(git -C "$source" tag)
  # An earlier one's log would be taken for its answer.
  : >"$GANTRY_LOGS/fakehub.log"
  "$GANTRY_CACHE/fakehub" "${args[@]}" >"$GANTRY_LOGS/fakehub.log" 2>&1 &
  # shellcheck disable=SC2034 # for whoever sources this
  HUB=$!
  until_true 10 grep -q '^listening on .*:[0-9][0-9]*$' "$GANTRY_LOGS/fakehub.log" || die "the fake GitHub did not start; see $GANTRY_LOGS/fakehub.log"
  HUB_PORT=$(sed -n 's/^listening on .*://p' "$GANTRY_LOGS/fakehub.log")
  hub=(--repository="$2" --github="http://$GANTRY_HOST_IN_CONTAINERS:$HUB_PORT")
  # shellcheck disable=SC2034 # for whoever sources this
  images=("${hub[@]}" images with-plain-http --host="$GANTRY_REGISTRY_IN_CONTAINERS" with-mirror --host=gcr.io --url="http://$GANTRY_REGISTRY_IN_CONTAINERS")
  log "a fake GitHub (ci/fakehub) listens at port $HUB_PORT; this is not github.com"
}
