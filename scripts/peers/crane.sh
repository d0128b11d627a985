# shellcheck shell=bash
# Makes the image of a release as a script of few lines would: curl and tar get the
# binaries, crane appends them to a base image.
#
#   CRANE     the program
#   DOWNLOADS where the release's files are: http://…/releases/download/TAG
#   NAME      of the archives: NAME-VERSION-TARGET.tar.gz
#   BINARY    the one to start; all binaries of the archive go into the image
#   VERSION   of the release
#   BASE      the base image
#   ADDRESS   the image, without a tag
#   TAGS      of the image, after the version: "1.4 1 latest"
set -euo pipefail
images=()
for platform in amd64:x86_64-unknown-linux-musl arm64:aarch64-unknown-linux-musl; do
  arch=${platform%%:*}
  archive=$NAME-$VERSION-${platform#*:}.tar.gz
  rm -rf "$arch"
  mkdir -p "$arch/root/usr/local/bin"
  cd "$arch"
  curl -fsSL -o "$archive" "$DOWNLOADS/$archive"
  curl -fsSL -o SHA256SUMS "$DOWNLOADS/SHA256SUMS"
  grep -F "  $archive" SHA256SUMS | sha256sum --check --quiet
  tar -xzf "$archive"
  find "${archive%.tar.gz}" -maxdepth 1 -type f -perm /111 -exec cp -t root/usr/local/bin {} +
  tar -C root -cf layer.tar usr
  "$CRANE" append --insecure --platform="linux/$arch" -b "$BASE" -f layer.tar -t "$ADDRESS:$VERSION-$arch"
  "$CRANE" mutate --insecure --entrypoint="/usr/local/bin/$BINARY" -t "$ADDRESS:$VERSION-$arch" "$ADDRESS:$VERSION-$arch"
  images+=(-m "$ADDRESS:$VERSION-$arch")
  cd ..
done
"$CRANE" index append --insecure "${images[@]}" -t "$ADDRESS:$VERSION"
for tag in $TAGS; do "$CRANE" tag --insecure "$ADDRESS:$VERSION" "$tag"; done
