# shellcheck shell=bash
# Makes the image of a release with buildah: an image for each platform, without a
# Dockerfile, and a manifest list. The variables are those of crane.sh, except BUILDAH.
set -euo pipefail
storage=(--root "$PWD/storage" --runroot "$PWD/run")
buildah() { "$BUILDAH" "${storage[@]}" "$@"; }
! buildah manifest exists "local/$NAME:$VERSION" || buildah manifest rm "local/$NAME:$VERSION" >/dev/null
buildah manifest create "local/$NAME:$VERSION" >/dev/null
for platform in amd64:x86_64-unknown-linux-musl arm64:aarch64-unknown-linux-musl; do
  arch=${platform%%:*}
  archive=$NAME-$VERSION-${platform#*:}.tar.gz
  rm -rf "$arch"
  mkdir -p "$arch/bin"
  cd "$arch"
  curl -fsSL -o "$archive" "$DOWNLOADS/$archive"
  curl -fsSL -o SHA256SUMS "$DOWNLOADS/SHA256SUMS"
  grep -F "  $archive" SHA256SUMS | sha256sum --check --quiet
  tar -xzf "$archive"
  find "${archive%.tar.gz}" -maxdepth 1 -type f -perm /111 -exec cp -t bin {} +
  cd ..
  container=$(buildah from --quiet --pull-always --tls-verify=false --arch "$arch" --os linux "$BASE")
  buildah copy --quiet "$container" "$arch/bin" /usr/local/bin >/dev/null
  buildah config --arch "$arch" --entrypoint "[\"/usr/local/bin/$BINARY\"]" "$container"
  buildah commit --quiet --rm --manifest "local/$NAME:$VERSION" "$container" >/dev/null
done
for tag in $VERSION $TAGS; do
  buildah manifest push --quiet --all --tls-verify=false "local/$NAME:$VERSION" "docker://$ADDRESS:$tag"
done
