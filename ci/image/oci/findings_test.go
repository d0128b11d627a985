package oci_test

import (
	"archive/tar"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/imagespec"
)

// stage is a release, its image, and where it is published.
type stage struct {
	t       *testing.T
	release *release
	image   *oci.Image
	peer    *peer
	bases   ocitest.Bases
}

// config changes the configuration of the arm64 image.
func (s *stage) config(change func(*v1.ConfigFile)) v1.ImageIndex {
	return remake(s.t, s.image, func(platform string, img v1.Image) v1.Image {
		if platform != "linux/arm64" {
			return img
		}
		c := must(img.ConfigFile()).DeepCopy()
		change(c)
		return must(mutate.ConfigFile(img, c))
	})
}

// annotations changes those of the arm64 image.
func (s *stage) annotations(key, value string) v1.ImageIndex {
	return remake(s.t, s.image, func(platform string, img v1.Image) v1.Image {
		if platform != "linux/arm64" {
			return img
		}
		return mutate.Annotations(img, map[string]string{key: value}).(v1.Image)
	})
}

// layer adds one to the arm64 image.
func (s *stage) layer(headers ...*tar.Header) v1.ImageIndex {
	return remake(s.t, s.image, with(s.t, headers...))
}

const serverPath = "usr/local/bin/server"

// Verify fails on each of its findings, and names it: the value that is there and
// the one that should be. The list is complete by the source of verify.go.
func TestEachFinding(t *testing.T) {
	source, err := os.ReadFile("verify.go")
	require.NoError(t, err)
	left := map[string]*regexp.Regexp{}
	for _, m := range regexp.MustCompile(`(?:v\.find\(|problem: (?:fmt\.Sprintf\()?|e\.problem = fmt\.Sprintf\()("(?:[^"\\]|\\.)*")`).FindAllStringSubmatch(string(source), -1) {
		var format string
		_, err := fmt.Sscanf(m[1], "%q", &format)
		require.NoError(t, err, m[1])
		pattern := regexp.MustCompile(`%#?[a-z]`).ReplaceAllString(regexp.QuoteMeta(format), `.*`)
		left[format] = regexp.MustCompile(pattern)
	}
	require.Greater(t, len(left), 25)

	file := func(name, content string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Linkname: content}
	}
	other := bases(t)[imagespec.GlibcBase]
	for _, c := range []struct {
		name string
		// prepare changes the release before its image is made.
		prepare func(*release)
		// index is what is published instead.
		index func(*stage) v1.ImageIndex
		// spoil changes the rest, after the image was published.
		spoil   func(*stage)
		options oci.VerifyOptions
		says    string
	}{
		{name: "nothing there", spoil: func(s *stage) { require.NoError(s.t, drop(s.peer, "1.2.3")) }, says: `"1.2.3" of "HOST/acme/server" does not exist`},
		{name: "no index", spoil: func(s *stage) { require.NoError(s.t, put(s.peer, "1.2.3", "foreign")) }, says: `is not the release's: read 1.2.3 of "HOST/acme/server": not an index of platforms, but a "application/vnd.oci.image.manifest.v1+json"`},
		{name: "another digest", index: func(s *stage) v1.ImageIndex { return s.layer(file("etc/motd", "x")) }, says: "but the one assembled from the release is sha256:"},
		{name: "another revision of the index", index: func(s *stage) v1.ImageIndex {
			return mutate.Annotations(s.image.Index, map[string]string{"org.opencontainers.image.revision": "x"}).(v1.ImageIndex)
		}, says: `the index has "org.opencontainers.image.revision" = "x", but the release has "` + commit + `"`},
		{name: "another source of an image", index: func(s *stage) v1.ImageIndex {
			return s.annotations("org.opencontainers.image.source", "https://example.com")
		}, says: `linux/arm64: the manifest has "org.opencontainers.image.source" = "https://example.com"`},
		{name: "another date of a configuration", index: func(s *stage) v1.ImageIndex {
			return s.config(func(c *v1.ConfigFile) { c.Config.Labels["org.opencontainers.image.created"] = "x" })
		}, says: `linux/arm64: the configuration has "org.opencontainers.image.created" = "x"`},
		{name: "a platform twice", index: func(s *stage) v1.ImageIndex {
			return mutate.AppendManifests(s.image.Index, mutate.IndexAddendum{Add: s.image.Platforms[0].Image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
		}, says: `platform "linux/amd64" appears twice in the index`},
		{name: "a platform less", index: func(s *stage) v1.ImageIndex {
			return remake(s.t, s.image, func(platform string, img v1.Image) v1.Image {
				if platform == "linux/arm64" {
					return nil
				}
				return img
			})
		}, says: "linux/arm64: the index lacks the platform"},
		{name: "a platform more", index: func(s *stage) v1.ImageIndex {
			return mutate.AppendManifests(s.image.Index, mutate.IndexAddendum{Add: s.image.Platforms[0].Image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}})
		}, says: `platform "linux/s390x" is not the release's`},
		{name: "a damaged blob", spoil: func(s *stage) {
			layers := must(s.image.Platforms[1].Image.Layers())
			s.peer.set(answer(must(layers[len(layers)-1].Digest()).String(), http.StatusOK, "<html>"))
		}, says: "linux/arm64: it is damaged: "},
		{name: "another entrypoint", index: func(s *stage) v1.ImageIndex {
			return s.config(func(c *v1.ConfigFile) { c.Config.Entrypoint = []string{"/bin/sh"} })
		}, says: `linux/arm64: the entrypoint is ["/bin/sh"], not ["/usr/local/bin/server"]`},
		{name: "another command", index: func(s *stage) v1.ImageIndex {
			return s.config(func(c *v1.ConfigFile) { c.Config.Cmd = []string{"x"} })
		}, says: `linux/arm64: the command is ["x"], not []`},
		{name: "root", index: func(s *stage) v1.ImageIndex { return s.config(func(c *v1.ConfigFile) { c.Config.User = "0" }) },
			says: `linux/arm64: the user is "0", not "65532:65532"`},
		{name: "another directory", index: func(s *stage) v1.ImageIndex {
			return s.config(func(c *v1.ConfigFile) { c.Config.WorkingDir = "/tmp" })
		}, says: `linux/arm64: the working directory is "/tmp", not "/"`},
		{name: "a variable less", prepare: func(r *release) { r.manifest.Image.Env = map[string]string{"RUST_LOG": "info"} }, index: func(s *stage) v1.ImageIndex {
			return s.config(func(c *v1.ConfigFile) { c.Config.Env = []string{"RUST_LOG=debug"} })
		}, says: `linux/arm64: the environment lacks "RUST_LOG=info"`},
		{name: "a port less", prepare: func(r *release) { r.manifest.Image.Expose = []string{"8080"} }, index: func(s *stage) v1.ImageIndex {
			return s.config(func(c *v1.ConfigFile) { c.Config.ExposedPorts = nil })
		}, says: `linux/arm64: the port "8080/tcp" is not exposed`},
		{name: "another label", prepare: func(r *release) { r.manifest.Image.Labels = map[string]string{"org.example.team": "core"} }, index: func(s *stage) v1.ImageIndex {
			return s.config(func(c *v1.ConfigFile) { c.Config.Labels["org.example.team"] = "x" })
		}, says: `linux/arm64: the label "org.example.team" is "x", not "core"`},
		{name: "another architecture", index: func(s *stage) v1.ImageIndex {
			return s.config(func(c *v1.ConfigFile) { c.Architecture = "s390x" })
		}, says: "linux/arm64: the configuration is for linux/s390x"},
		{name: "a flipped byte", index: func(s *stage) v1.ImageIndex { return s.layer(file(serverPath, "\x7fELF evil")) },
			says: `linux/arm64: binary "/usr/local/bin/server" has SHA-256 ` + digestOf([]byte("\x7fELF evil")) + `, but that of archive "server-1.2.3-aarch64-unknown-linux-musl.tar.gz"`},
		{name: "a link", index: func(s *stage) v1.ImageIndex {
			return s.layer(&tar.Header{Typeflag: tar.TypeSymlink, Name: serverPath, Linkname: "/bin/evil"})
		}, says: `binary "/usr/local/bin/server": it is not a regular file`},
		{name: "a link for its directory", index: func(s *stage) v1.ImageIndex {
			return s.layer(&tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/local/bin", Linkname: "/opt"})
		}, says: `binary "/usr/local/bin/server": "/usr/local/bin" is not a directory`},
		{name: "deleted", index: func(s *stage) v1.ImageIndex { return s.layer(file("usr/local/bin/.wh.server", "")) }, says: `binary "/usr/local/bin/server": a layer above it deletes it`},
		{name: "hidden", index: func(s *stage) v1.ImageIndex { return s.layer(file("usr/local/.wh..wh..opq", "")) }, says: `binary "/usr/local/bin/server": a layer above it hides it`},
		{name: "not executable", index: func(s *stage) v1.ImageIndex {
			return s.layer(&tar.Header{Typeflag: tar.TypeReg, Name: serverPath, Mode: 0o640, Linkname: "x"})
		}, says: `binary "/usr/local/bin/server": its mode is 0640`},
		{name: "no binary", index: func(s *stage) v1.ImageIndex {
			return remake(s.t, s.image, func(_ string, img v1.Image) v1.Image {
				c := must(img.ConfigFile()).DeepCopy()
				c.RootFS.DiffIDs, c.History = nil, nil
				return mutate.Annotations(must(mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), c)), must(img.Manifest()).Annotations).(v1.Image)
			})
		}, says: `binary "/usr/local/bin/server" is missing`},
		{name: "a base image where there is none", prepare: func(r *release) { r.manifest.Image.Base = imagespec.Scratch }, index: func(s *stage) v1.ImageIndex {
			return s.annotations("org.opencontainers.image.base.name", imagespec.StaticBase)
		}, says: `linux/arm64: the base image is "` + imagespec.StaticBase + `", but the release has none`},
		{name: "no base image", index: func(s *stage) v1.ImageIndex { return s.annotations("org.opencontainers.image.base.digest", "") },
			says: "linux/arm64: its annotations do not name the base image"},
		{name: "a variant of the base image", prepare: func(r *release) { r.manifest.Image.Base = imagespec.StaticBase }, index: func(s *stage) v1.ImageIndex {
			return s.annotations("org.opencontainers.image.base.name", strings.Replace(imagespec.StaticBase, ":nonroot", ":debug", 1))
		}, says: `linux/arm64: the base image is "gcr.io/distroless/static-debian12:debug", but the release names "gcr.io/distroless/static-debian12:nonroot"`},
		{name: "another image than the one that is named by digest",
			prepare: func(r *release) {
				r.manifest.Image.Base = imagespec.StaticBase + "@" + must(bases(r.t)[imagespec.StaticBase].Digest()).String()
			},
			index: func(s *stage) v1.ImageIndex {
				return s.annotations("org.opencontainers.image.base.digest", "sha256:"+strings.Repeat("0", 64))
			}, says: `linux/arm64: the base image is "` + imagespec.StaticBase + `@sha256:` + strings.Repeat("0", 64) + `", but the release names`},
		{name: "a base image that moved", spoil: func(s *stage) { s.bases[imagespec.StaticBase] = other }, options: oci.VerifyOptions{CurrentBase: true},
			says: `linux/arm64: the base image "` + imagespec.StaticBase + `" was sha256:`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &stage{t: t, release: newRelease(t, "1.2.3", both...), peer: newPeer(t), bases: bases(t)}
			if c.prepare != nil {
				c.prepare(s.release)
			}
			s.image = s.release.assemble()
			index := s.image.Index
			publish := func(index v1.ImageIndex) {
				_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: index}, s.peer.repository(t, fast))
				require.NoError(t, err)
			}
			o := c.options
			o.Bases, o.Digest = s.bases, s.image.Digest
			// As it should be, there is no finding.
			publish(index)
			verified, err := oci.VerifyImage(t.Context(), s.release.manifest, s.peer.repository(t, fast), o)
			require.NoError(t, err)
			require.Empty(t, verified.Findings)

			if c.index != nil {
				require.NoError(t, drop(s.peer, "1.2.3"))
				for _, tag := range []string{"1", "1.2", "latest"} {
					require.NoError(t, drop(s.peer, tag))
				}
				publish(c.index(s))
			}
			if c.spoil != nil {
				c.spoil(s)
			}
			verified, err = oci.VerifyImage(t.Context(), s.release.manifest, s.peer.repository(t, fast), o)
			require.NoError(t, err)
			require.NotEmpty(t, verified.Findings)
			assert.Contains(t, strings.ReplaceAll(verified.Text(), s.peer.address(""), "HOST/"), c.says)
			for format, pattern := range left {
				if pattern.MatchString(verified.Text()) {
					delete(left, format)
				}
			}
		})
	}
	for format := range left {
		assert.Fail(t, "a finding without a test", format)
	}
}

// The base images are named, and what their tags name now; whoever wants can
// demand that it is the same.
func TestVerifyNamesTheBase(t *testing.T) {
	p, rel := newPeer(t), newRelease(t, "1.2.3", both...)
	image := rel.assemble()
	_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), p.repository(t, fast))
	require.NoError(t, err)
	pin := pinsOf(image)["linux/arm64"]
	moved := bases(t)
	moved[imagespec.StaticBase] = moved[imagespec.GlibcBase]
	now := must(moved.Base(t.Context(), imagespec.StaticBase, "linux/arm64")).Digest.String()
	for _, c := range []struct {
		name    string
		bases   oci.Bases
		says    string
		demands string // what a demand finds, or fails with
	}{
		{"the same", bases(t), "which the tag still names", ""},
		{"moved", moved, "but the tag now names " + now, "and is now " + now},
		{"gone", ocitest.Bases{}, "what the tag now names: find base image", "names now is unknown"},
		{"not looked up", nil, "it is unknown what the tag now names: it was not read", "names now is unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			verified, err := oci.VerifyImage(t.Context(), rel.manifest, p.repository(t, fast), oci.VerifyOptions{Bases: c.bases})
			require.NoError(t, err)
			assert.Empty(t, verified.Findings)
			require.Len(t, verified.Bases, 2)
			assert.Contains(t, verified.Text(), "linux/arm64: base "+pin.Name+"@"+pin.Digest+", ")
			assert.Contains(t, verified.Text(), c.says)

			verified, err = oci.VerifyImage(t.Context(), rel.manifest, p.repository(t, fast), oci.VerifyOptions{Bases: c.bases, CurrentBase: true})
			switch c.name {
			case "the same":
				require.NoError(t, err)
				assert.Empty(t, verified.Findings)
			case "gone", "not looked up":
				assert.ErrorContains(t, err, c.demands)
			default:
				require.NoError(t, err)
				assert.Len(t, verified.Findings, 2)
				assert.Contains(t, verified.Text(), c.demands)
			}
		})
	}
	// The digest of one platform may be named instead of the index's; which image
	// another one means has to be looked up.
	rel.manifest.Image.Base = pin.Name + "@" + must(bases(t)[imagespec.StaticBase].Digest()).String()
	_, err = oci.VerifyImage(t.Context(), rel.manifest, p.repository(t, fast), oci.VerifyOptions{})
	require.ErrorContains(t, err, "is unknown")
	verified, err := oci.VerifyImage(t.Context(), rel.manifest, p.repository(t, fast), oci.VerifyOptions{Bases: bases(t)})
	require.NoError(t, err)
	assert.Empty(t, verified.Findings)
}

// An image that has the version's tag and is the release byte for byte, though
// assembled in another way, keeps it and gets the floating tags.
func TestPublishGoesOnWithAnotherAssembly(t *testing.T) {
	rel := newRelease(t, "1.2.3", both...)
	image := rel.assemble()
	binary := string(rel.binary(both[0], "server", 4<<10).content)
	file := func(name, content string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Linkname: content}
	}
	older := map[string]v1.ImageIndex{
		"another layer":         remake(t, image, with(t, file("etc/motd", "x"))),
		"the same binary again": remake(t, image, with(t, file(serverPath, binary))),
	}
	for name, index := range older {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			// It was left half done.
			p.set(func(n int, w http.ResponseWriter, r *http.Request) bool {
				return puts("1.2")(r) && answer("/manifests/", 403, "")(n, w, r)
			})
			_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: index}, p.repository(t, fast))
			require.Error(t, err)
			p.set(nil)
			have := must(index.Digest()).String()
			require.Equal(t, map[string]string{"1.2.3": have}, p.tags(t))

			job := publication(image, "1.2.3")
			_, err = oci.Publish(t.Context(), job, p.repository(t, fast))
			require.ErrorAs(t, err, new(*oci.ConflictError), "nobody says what the release is")
			job.Manifest = rel.manifest
			report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
			require.NoError(t, err)
			assert.Contains(t, report.Text(), "note: tag \"1.2.3\" is "+have+", assembled differently than "+image.Digest.String())
			assert.Equal(t, map[string]string{"1.2.3": have, "1.2": have, "1": have, "latest": have}, p.tags(t))
			again, err := oci.Publish(t.Context(), job, p.repository(t, fast))
			require.NoError(t, err)
			assert.Empty(t, again.Repositories[0].Done)
			assert.Zero(t, again.Repositories[0].BytesPushed)
		})
	}
	for name, c := range map[string]struct {
		index v1.ImageIndex
		says  string
	}{
		"another binary":  {remake(t, image, with(t, file(serverPath, "evil"))), "has SHA-256"},
		"a platform less": {remake(t, image, func(p string, img v1.Image) v1.Image { return map[string]v1.Image{"linux/arm64": img}[p] }), "linux/amd64: the index lacks the platform"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: c.index}, p.repository(t, fast))
			require.NoError(t, err)
			before := p.tags(t)
			job := publication(image, "1.2.3")
			job.Manifest = rel.manifest
			report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
			var conflict *oci.ConflictError
			require.ErrorAs(t, err, &conflict)
			assert.Contains(t, conflict.Why, c.says)
			assert.Equal(t, before, p.tags(t))
			assert.Zero(t, report.Repositories[0].BytesPushed)
		})
	}
	// What can't be read is no proof.
	p := newPeer(t)
	index := older["another layer"]
	_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: index}, p.repository(t, fast))
	require.NoError(t, err)
	p.set(func(n int, w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodGet && answer("/blobs/", 500, "")(n, w, r)
	})
	job := publication(image, "1.2.3")
	job.Manifest = rel.manifest
	_, err = oci.Publish(t.Context(), job, p.repository(t, fast))
	require.ErrorAs(t, err, new(*oci.ConflictError))
	require.ErrorContains(t, err, "500")
}
