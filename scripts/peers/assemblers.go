package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// The base images. The second makes another image of the same release.
const (
	staticBase = "distroless/static-debian12:nonroot"
	otherBase  = "distroless/cc-debian12:nonroot"
)

// imageOf is a release on the fake GitHub whose image is made.
type imageOf struct {
	// tag and version, such as "tally-1.4.0" and "1.4.0". other is a tag of the same
	// commit for tools that know no prefix.
	tag, version, other string
	// name is that of the archives, and binary the program to start.
	name, binary string
	// tags are those of the image besides the version, for tools that don't decide on
	// them.
	tags []string
	// base is the base image; by default, staticBase.
	base string
}

// assembler is a tool that makes and publishes the image of a release.
type assembler struct {
	name string
	// publish makes the image in a directory, which keeps what the tool leaves for the
	// next time, and pushes it to a repository of the registry.
	publish func(ctx context.Context, dir, path string, of imageOf) error
	// clean, if set, makes a directory like that of a new machine.
	clean func(ctx context.Context, dir string) (close func(), err error)
}

// workshop has what all assemblers work with.
type workshop struct {
	*engine
	hub      *releaseHub
	registry *imageRegistry
	// source is the repository that was released.
	source string
}

// bases is the registry that has the base images, as this machine reaches it.
func bases() string { return envOr("GANTRY_REGISTRY", "127.0.0.1:5000") }

// basesInContainers is the same as containers of the engine reach it.
func (w *workshop) basesInContainers() string {
	return envOr("GANTRY_REGISTRY_IN_CONTAINERS", w.host+":5000")
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// gantryAssembler is phase 2 of Gantry. The chain is that of `scripts/bench image`.
func (w *workshop) gantryAssembler(settings ...string) assembler {
	return assembler{name: Gantry, publish: func(ctx context.Context, _, path string, of imageOf) error {
		registry := fmt.Sprintf("%s:%d", w.host, w.registry.port)
		args := slices.Concat(w.hub.arguments(w.engine), []string{
			"images", "with-plain-http", "--host=" + registry, "with-plain-http", "--host=" + w.basesInContainers(),
			"with-mirror", "--host=gcr.io", "--url=http://" + w.basesInContainers(),
		}, settings)
		if of.base != "" {
			args = append(args, "with-image-settings", "--base=gcr.io/"+of.base)
		}
		_, err := w.call(ctx, append(args, "image", "--tag="+of.tag, "publish", "--addresses="+registry+"/"+path)...)
		return err
	}}
}

var (
	//go:embed crane.sh
	craneScript string
	//go:embed buildah.sh
	buildahScript string
)

// craneAssembler is a script of curl, tar and crane.
func (w *workshop) craneAssembler(ctx context.Context, column string) (assembler, error) {
	crane, _, err := w.env.Tool(ctx, "crane")
	return assembler{name: column, publish: func(ctx context.Context, dir, path string, of imageOf) error {
		return w.script(ctx, dir, craneScript, path, of, "CRANE="+crane)
	}}, err
}

// buildahAssembler is a script of buildah.
func (w *workshop) buildahAssembler(ctx context.Context) (assembler, error) {
	buildah, _, err := w.env.Tool(ctx, "buildah")
	return assembler{name: "buildah", publish: func(ctx context.Context, dir, path string, of imageOf) error {
		return w.script(ctx, dir, buildahScript, path, of, "BUILDAH="+buildah)
	}}, err
}

// script runs one of the scripts in a directory.
func (w *workshop) script(ctx context.Context, dir, text, path string, of imageOf, env ...string) error {
	env = append(env,
		"DOWNLOADS="+w.hub.url()+"/"+sampleRepository+"/releases/download/"+of.tag, "NAME="+of.name, "BINARY="+of.binary, "VERSION="+of.version,
		"BASE="+bases()+"/"+of.baseImage(), "ADDRESS="+w.registry.local()+"/"+path, "TAGS="+strings.Join(of.tags, " "))
	_, err := w.run(Command(ctx, dir, env, "bash", "-c", text))
	return err
}

func (of imageOf) baseImage() string {
	if of.base != "" {
		return of.base
	}
	return staticBase
}

// goreleaserImages is the configuration, as GoReleaser's documentation recommends it:
// its pages on Rust, reproducible builds and dockers_v2. Its Rust builder calls a script
// instead of Cargo, which takes the binaries of the release. A bill of materials is off:
// BuildKit makes it with an image of Docker Hub, and no other tool makes one here.
const goreleaserImages = `version: 2
project_name: {{NAME}}
builds:{{BUILDS}}
archives:
  - formats: [tar.gz]
changelog:
  disable: true
github_urls:
  api: "{{ .Env.PEERS_HUB }}/api/v3/"
  upload: "{{ .Env.PEERS_HUB }}/api/uploads/"
  download: "{{ .Env.PEERS_HUB }}"
release:
  github: {owner: example, name: tally}
  disable: "{{ .Env.PEERS_WITHOUT_RELEASE }}"
dockers_v2:
  - images: ["{{ .Env.PEERS_ADDRESS }}"]
    tags:
      - "{{ .Version }}"
      - "{{ .Major }}.{{ .Minor }}"
      - "{{ .Major }}"
      - "{{ if not .IsNightly }}latest{{ end }}"
    sbom: "false"
    build_args:
      BASE: "{{ .Env.PEERS_BASE }}"
`

const goreleaserBuild = `
  - id: {{BINARY}}
    builder: rust
    tool: "{{ .Env.PEERS_PREBUILT }}"
    binary: {{BINARY}}
    flags: [--release, --package={{NAME}}]
    mod_timestamp: "{{ .CommitTimestamp }}"
    targets: [x86_64-unknown-linux-musl, aarch64-unknown-linux-musl]`

const goreleaserDockerfile = `ARG BASE
FROM $BASE
ARG TARGETPLATFORM
COPY {{COPY}} /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/{{BINARY}}"]
`

// prebuilt is called like cargo: prebuilt zigbuild --target=TARGET … It is called for
// several binaries at once.
const prebuilt = `#!/bin/sh
set -eu
t=${2#--target=}
mkdir -p "target/$t/release"
for f in "$PEERS_BINARIES/$PEERS_TAG/$t"/*; do
  cp "$f" "target/$t/release/.$$"
  mv "target/$t/release/.$$" "target/$t/release/${f##*/}"
done
`

// goreleaserAssembler is GoReleaser with docker buildx. With a token that may write, it
// makes the release, too; without one, release.disable is set.
func (w *workshop) goreleaserAssembler(ctx context.Context, token string, binaries ...string) (assembler, error) {
	goreleaser, _, err := w.env.Tool(ctx, "goreleaser")
	if err != nil {
		return assembler{}, err
	}
	for _, tool := range []string{"buildkitd", "buildx"} { // so that what is missing is known before
		if _, _, err := w.env.Tool(ctx, tool); err != nil {
			return assembler{}, err
		}
	}
	builders := map[string]*builder{}
	clean := func(ctx context.Context, dir string) (func(), error) {
		b, err := startBuilder(ctx, w.env, dir, w.registry.local(), bases())
		builders[dir] = b
		return func() { _ = b.Close() }, err
	}
	publish := func(ctx context.Context, dir, path string, of imageOf) error {
		clone, err := w.goreleaserClone(ctx, dir, of, binaries)
		if err != nil {
			return err
		}
		env := slices.Concat(builders[dir].env, []string{
			"PEERS_HUB=" + w.hub.url(), "PEERS_ADDRESS=" + w.registry.local() + "/" + path, "PEERS_BASE=" + bases() + "/" + of.baseImage(),
			"PEERS_PREBUILT=" + filepath.Join(dir, "prebuilt"), "PEERS_BINARIES=" + filepath.Join(w.env.Work, "binaries"), "PEERS_TAG=" + of.tag,
			"GORELEASER_CURRENT_TAG=" + of.other, "GITHUB_TOKEN=" + token, "PEERS_WITHOUT_RELEASE=" + fmt.Sprint(token == ""),
		})
		_, err = w.run(Command(ctx, clone, env, goreleaser, "release", "--clean"))
		return err
	}
	return assembler{name: "goreleaser", publish: publish, clean: clean}, nil
}

// goreleaserSample is GoReleaser with the binaries of the sample.
func (w *workshop) goreleaserSample(ctx context.Context, token string) (assembler, error) {
	return w.goreleaserAssembler(ctx, token, "tally-server", "tally-audit")
}

// goreleaserClone checks a release out, with GoReleaser's files, as if they had been
// committed with it.
func (w *workshop) goreleaserClone(ctx context.Context, dir string, of imageOf, binaries []string) (string, error) {
	clone := filepath.Join(dir, "clone")
	if err := os.RemoveAll(clone); err != nil {
		return "", err
	}
	if _, err := Output(Command(ctx, dir, nil, "git", "clone", "--quiet", w.source, clone)); err != nil {
		return "", err
	}
	if err := git(ctx, clone, "remote", "set-url", "origin", sampleRemote); err != nil {
		return "", err
	}
	if err := git(ctx, clone, "checkout", "--quiet", of.other); err != nil {
		return "", err
	}
	var builds, copied strings.Builder
	for _, b := range binaries {
		builds.WriteString(strings.NewReplacer("{{BINARY}}", b, "{{NAME}}", of.name).Replace(goreleaserBuild))
		copied.WriteString("$TARGETPLATFORM/" + b + " ")
	}
	fill := strings.NewReplacer("{{NAME}}", of.name, "{{BUILDS}}", builds.String(), "{{BINARY}}", of.binary, "{{COPY}}", strings.TrimSpace(copied.String()))
	for path, text := range map[string]string{
		filepath.Join(clone, ".goreleaser.yaml"): fill.Replace(goreleaserImages),
		filepath.Join(clone, "Dockerfile"):       fill.Replace(goreleaserDockerfile),
		filepath.Join(dir, "prebuilt"):           prebuilt,
	} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			return "", err
		}
	}
	return clone, exclude(clone, "/dist", "/target", "/.goreleaser.yaml", "/Dockerfile")
}

// unpackBinaries puts the binaries of a release where prebuilt finds them.
func (w *workshop) unpackBinaries(ctx context.Context, of imageOf) error {
	for _, target := range []string{"x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"} {
		dir := filepath.Join(w.env.Work, "binaries", of.tag, target)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		url := fmt.Sprintf("%s/%s/releases/download/%s/%s-%s-%s.tar.gz", w.hub.url(), sampleRepository, of.tag, of.name, of.version, target)
		script := `curl -fsSL "$0" | tar -xzf - --strip-components=1 && find . -mindepth 1 -maxdepth 1 \( -type d -o ! -perm /111 \) -exec rm -r {} +`
		if _, err := w.run(Command(ctx, dir, nil, "sh", "-c", script, url)); err != nil {
			return err
		}
	}
	return nil
}

// sameBinaries compares the binaries in an image with those of the release.
func (w *workshop) sameBinaries(ref name.Reference, of imageOf) (bool, error) {
	for platform, target := range map[string]string{"linux/amd64": "x86_64-unknown-linux-musl", "linux/arm64": "aarch64-unknown-linux-musl"} {
		have, err := readFile(ref, platform, "usr/local/bin/"+of.binary)
		if err != nil {
			return false, err
		}
		want, err := os.ReadFile(filepath.Join(w.env.Work, "binaries", of.tag, target, of.binary))
		if err != nil {
			return false, err
		}
		if !bytes.Equal(have, want) {
			return false, nil
		}
	}
	return true, nil
}
