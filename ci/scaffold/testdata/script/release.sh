#!/bin/sh
# Releases a tag of this project on GitHub, and publishes its image. Gantry's init
# made this file. It needs Dagger and, for what it writes, in the environment:
#   RELEASE_TOKEN: a GitHub token that can write the contents of Example/app
#   REGISTRY_USERNAME
#   REGISTRY_PASSWORD
#
#   ./release.sh check TAG      reports what the release would be, and every problem
#   ./release.sh release TAG    phase 1: publishes the release; completes one that failed
#   ./release.sh image TAG      phase 2: publishes the image of the release
#   ./release.sh reconcile      publishes images that recent releases lack
#   ./release.sh rehearse TAG   plays both phases against fake servers
set -eu

export DAGGER_MODULE="${DAGGER_MODULE:-github.com/owner/gantry@v0.1.0}"
export DAGGER_NO_NAG=1
address=${GITHUB_ADDRESS:-https://github.com}
repository=Example/app
image=${IMAGE:-ghcr.io/example/app}

case ${1:-}:$# in
  check:2 | rehearse:2)
    dagger call --source=. --repository="$repository" --github="$address" release --tag="$2" "$1"
    ;;
  release:2)
    dagger call --source=. --repository="$repository" --github="$address" release --tag="$2" \
      publish --token=env:RELEASE_TOKEN
    ;;
  image:2)
    dagger call --repository="$repository" --github="$address" images --token=env:RELEASE_TOKEN \
      with-registry-auth --address=ghcr.io --username="$REGISTRY_USERNAME" --secret=env:REGISTRY_PASSWORD \
      image --tag="$2" publish --addresses="$image"
    ;;
  reconcile:1)
    dagger call --repository="$repository" --github="$address" images --token=env:RELEASE_TOKEN \
      with-registry-auth --address=ghcr.io --username="$REGISTRY_USERNAME" --secret=env:REGISTRY_PASSWORD \
      reconcile --addresses="$image"
    ;;
  *)
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
