# shellcheck shell=bash
# OCI images without a container runtime: a layer is a tar file, an image is a
# few lines of JSON beside it. Source it after lib.sh.
#
# Every image made here is a stand-in for the public image of its name, made from
# Debian packages for machines that reach no container registry. Its label
# org.opencontainers.image.description says so.

STAND_IN="Stand-in made from Debian packages by Gantry's scripts/up; not the public image of this name."

# An image of the kind goes through four functions, each with a file or directory
# as its result:
#
#   oci_layer ROOT LAYER             LAYER/{blob,json} from the tree ROOT
#   oci_image LAYOUT ARCH CONFIG LAYER…   adds a manifest, prints its descriptor
#   oci_index LAYOUT DESCRIPTOR…     LAYOUT is complete: one image, or an index
#   oci_push LAYOUT REPOSITORY TAG…  into the local registry

# oci_layer ROOT LAYER [TAR-ARGUMENT…]
oci_layer() {
  local root=$1 layer=$2
  shift 2
  mkdir -p "$layer"
  # /dev is the runtime's to fill. Level 1: the registry is on this machine, so
  # time counts and size hardly does.
  tar -C "$root" --sort=name --numeric-owner --mtime="@$GANTRY_EPOCH" --clamp-mtime \
    --format=posix --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
    --exclude='./dev/*' "$@" -c . |
    tee >(sha256sum | cut -d' ' -f1 >"$layer/diffid") |
    pigz -n -1 >"$layer/blob"
  # The substitution is not waited for by the pipe.
  until_true 60 test -s "$layer/diffid"
  jq -n --arg digest "sha256:$(sha256sum <"$layer/blob" | cut -d' ' -f1)" \
    --argjson size "$(stat -c %s "$layer/blob")" --arg diff "sha256:$(<"$layer/diffid")" \
    '{mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", $digest, $size, $diff}' \
    >"$layer/json"
}

# oci_blob LAYOUT MEDIATYPE stores standard input, prints its descriptor.
oci_blob() {
  local blobs=$1/blobs/sha256 digest
  mkdir -p "$blobs"
  cat >"$blobs/new"
  digest=$(sha256sum <"$blobs/new" | cut -d' ' -f1)
  mv "$blobs/new" "$blobs/$digest"
  jq -cn --arg mediaType "$2" --arg digest "sha256:$digest" \
    --argjson size "$(stat -c %s "$blobs/$digest")" '{$mediaType, $digest, $size}'
}

# oci_image LAYOUT ARCH CONFIG LAYER… : CONFIG is the JSON of an image's config
# (Env, Entrypoint, …).
oci_image() {
  local layout=$1 arch=$2 config=$3 layer layers created descriptor
  shift 3
  mkdir -p "$layout/blobs/sha256"
  layers=$(for layer in "$@"; do cat "$layer/json"; done | jq -cs .)
  for layer in "$@"; do
    # A layer is in many images: one copy on the disk.
    ln -f "$layer/blob" "$layout/blobs/sha256/$(jq -r '.digest[7:]' "$layer/json")"
  done
  created=$(date -u -d "@$GANTRY_EPOCH" +%FT%TZ)
  descriptor=$(jq -cn --arg architecture "$arch" --argjson config "$config" --argjson layers "$layers" \
    --arg created "$created" --arg description "$STAND_IN" '{
      $created, $architecture, os: "linux",
      config: ($config + {Labels: {"org.opencontainers.image.description": $description}}),
      rootfs: {type: "layers", diff_ids: [$layers[].diff]},
      history: [$layers[] | {$created, created_by: "scripts/images"}]}' |
    oci_blob "$layout" application/vnd.oci.image.config.v1+json)
  jq -cn --argjson config "$descriptor" --argjson layers "$layers" '{
      schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
      $config, layers: [$layers[] | del(.diff)]}' |
    oci_blob "$layout" application/vnd.oci.image.manifest.v1+json |
    jq -c --arg architecture "$arch" '. + {platform: {$architecture, os: "linux"}}'
}

# oci_index LAYOUT DESCRIPTOR… : with several manifests the layout's one image is
# an index of them.
oci_index() {
  local layout=$1 top
  shift
  top=$1
  if (($# > 1)); then
    top=$(printf '%s\n' "$@" | jq -cs '{schemaVersion: 2,
        mediaType: "application/vnd.oci.image.index.v1+json", manifests: .}' |
      oci_blob "$layout" application/vnd.oci.image.index.v1+json)
  fi
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  jq -n --argjson top "$top" '{schemaVersion: 2, manifests: [$top]}' >"$layout/index.json"
}

# oci_digest LAYOUT
oci_digest() { jq -r '.manifests[0].digest' "$1/index.json"; }

# registry_digest REPOSITORY TAG: what the registry has there, or nothing.
registry_digest() {
  curl -sfI --max-time 10 "http://$GANTRY_REGISTRY/v2/$1/manifests/$2" \
    -H 'Accept: application/vnd.oci.image.index.v1+json' \
    -H 'Accept: application/vnd.oci.image.manifest.v1+json' |
    tr -d '\r' | awk 'tolower($1) == "docker-content-digest:" {print $2}'
}

# oci_push LAYOUT REPOSITORY TAG… sends what the registry lacks, and notes in
# LAYOUT.pushed what it must have from now on.
oci_push() {
  local layout=$1 repository=$2 tag digest
  shift 2
  digest=$(oci_digest "$layout")
  for tag in "$@"; do
    if [[ $(registry_digest "$repository" "$tag") != "$digest" ]]; then
      retry skopeo copy --quiet --insecure-policy --all --preserve-digests \
        --dest-tls-verify=false "oci:$layout" "docker://$GANTRY_REGISTRY/$repository:$tag"
    fi
    printf '%s %s %s\n' "$repository" "$tag" "$digest"
  done >"$layout.pushed"
  cat "$layout.pushed"
}
