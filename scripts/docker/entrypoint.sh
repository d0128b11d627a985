#!/bin/sh
# Starts the engine in its container.
set -e

# With cgroup v2, the containers of the engine need controllers in groups below
# this container's, which must then hold no process itself.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p /sys/fs/cgroup/init
  while read -r pid; do
    echo "$pid" >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null || true
  done </sys/fs/cgroup/cgroup.procs
  sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
fi
# Each client has databases that stay open.
# shellcheck disable=SC3045 # dash has it
ulimit -n 1048576 2>/dev/null || true
exec dagger-engine --config /etc/dagger/engine.toml "$@"
