[[/* The first line is no shebang, since this is not yet a script. */ -]]
#!/bin/sh
# Releases a tag of this project on GitHub[[if .Images]], and publishes its image[[end]]. Gantry's init
# made this file. It needs Dagger and, for what it writes, in the environment:
#   RELEASE_TOKEN: a GitHub token that can write the contents of [[.Repository]]
[[- range .Secrets]]
#   [[.]]
[[- end]]
#
#   ./release.sh check TAG      reports what the release would be, and every problem
#   ./release.sh release TAG    phase 1: publishes the release; completes one that failed
[[- if .Images]]
#   ./release.sh image TAG      phase 2: publishes the image of the release
#   ./release.sh reconcile      publishes images that recent releases lack
[[- end]]
#   ./release.sh rehearse TAG   plays both phases against fake servers
set -eu

export DAGGER_MODULE="${DAGGER_MODULE:-[[.Module]]}"
export DAGGER_NO_NAG=1
address=${GITHUB_ADDRESS:-[[.GitHub]]}
repository=[[.Repository]]
[[- if .Image]]
image=${IMAGE:-[[.Image]]}
[[- end]]

case ${1:-}:$# in
  check:2 | rehearse:2)
    dagger call --source=.[[.Flags]] --repository="$repository" --github="$address" release --tag="$2" "$1"
    ;;
  release:2)
    dagger call --source=.[[.Flags]] --repository="$repository" --github="$address" release --tag="$2" \
      publish --token=env:RELEASE_TOKEN
    ;;
[[- if .Images]]
  image:2)
    dagger call --repository="$repository" --github="$address" images --token=env:RELEASE_TOKEN \
[[- range .Logins]]
      with-registry-auth --address=[[.Registry]] --username="$[[.User]]" --secret=env:[[.Password]] \
[[- end]]
      image --tag="$2" publish[[if .Image]] --addresses="$image"[[end]]
    ;;
  reconcile:1)
    dagger call --repository="$repository" --github="$address" images --token=env:RELEASE_TOKEN \
[[- range .Logins]]
      with-registry-auth --address=[[.Registry]] --username="$[[.User]]" --secret=env:[[.Password]] \
[[- end]]
      reconcile[[if .Image]] --addresses="$image"[[end]]
    ;;
[[- end]]
  *)
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
