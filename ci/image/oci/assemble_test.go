package oci_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/published"
)

func unzip(text []byte) (io.ReadCloser, error) { return gzip.NewReader(bytes.NewReader(text)) }

func TestAssemble(t *testing.T) {
	r := newRelease(t, "1.2.3", both...)
	r.manifest.Homepage = "https://server.example"
	r.manifest.Image = &manifest.Image{
		Cmd: []string{"--config", "/etc/server/server.toml"}, Env: map[string]string{"RUST_LOG": "info", "PATH": "/opt"},
		Expose: []string{"8080", "53/udp"}, Labels: map[string]string{"org.example.team": "core", "org.opencontainers.image.title": "Server"},
		Include: map[string]string{"config": "/etc/server/", "LICENSE": "/usr/share/doc/server/"},
	}
	image := r.assemble()
	require.NoError(t, validate.Index(image.Index))

	im := must(image.Index.IndexManifest())
	assert.Equal(t, types.OCIImageIndex, im.MediaType)
	meta := map[string]string{
		"org.opencontainers.image.title": "Server", "org.opencontainers.image.description": "Streams messages",
		"org.opencontainers.image.version": "1.2.3", "org.opencontainers.image.revision": commit,
		"org.opencontainers.image.source": "https://github.com/acme/server", "org.opencontainers.image.url": "https://server.example",
		"org.opencontainers.image.licenses": "MIT", "org.opencontainers.image.created": "2026-04-14T09:30:00Z",
		"org.opencontainers.image.base.name": imagespec.StaticBase,
	}
	assert.Equal(t, meta, im.Annotations)
	require.Len(t, im.Manifests, 2)
	assert.Equal(t, "linux/amd64", im.Manifests[0].Platform.String())
	assert.Equal(t, "linux/arm64", im.Manifests[1].Platform.String())

	arm := image.Platforms[1]
	m := must(arm.Image.Manifest())
	assert.Equal(t, types.OCIManifestSchema1, m.MediaType)
	assert.Equal(t, types.OCIConfigJSON, m.Config.MediaType)
	meta["org.opencontainers.image.base.digest"] = arm.Pinned.Digest
	assert.Equal(t, meta, m.Annotations)
	require.Len(t, m.Layers, 2, "the base's and one of ours")

	c := must(arm.Image.ConfigFile())
	assert.Equal(t, "linux/arm64", c.Platform().String(), "as the index says")
	assert.Equal(t, date, c.Created.Time)
	assert.Equal(t, []string{"/usr/local/bin/server"}, c.Config.Entrypoint)
	assert.Equal(t, []string{"--config", "/etc/server/server.toml"}, c.Config.Cmd)
	assert.Equal(t, "65532:65532", c.Config.User)
	assert.Equal(t, "/", c.Config.WorkingDir)
	assert.Equal(t, []string{"PATH=/opt", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "RUST_LOG=info"}, c.Config.Env)
	assert.Equal(t, map[string]struct{}{"8080/tcp": {}, "53/udp": {}}, c.Config.ExposedPorts)
	assert.Equal(t, "base", c.Config.Labels["maintainer"])
	assert.Equal(t, "core", c.Config.Labels["org.example.team"])
	assert.Equal(t, "1.2.3", c.Config.Labels["org.opencontainers.image.version"])
	require.Len(t, c.History, 2)
	assert.Equal(t, date, c.History[1].Created.Time)

	names, headers, contents := topLayer(t, arm.Image)
	assert.Equal(t, []string{
		"usr/", "usr/share/", "usr/share/doc/", "usr/share/doc/server/", "usr/share/doc/server/LICENSE",
		"etc/", "etc/server/", "etc/server/more/", "etc/server/more/run.sh", "etc/server/server.toml",
		"usr/local/", "usr/local/bin/", "usr/local/bin/server",
	}, names)
	for name, h := range headers {
		assert.Equal(t, date, h.ModTime.UTC(), name)
		assert.Zero(t, h.Uid+h.Gid, name)
		assert.Empty(t, h.Uname+h.Gname, name)
	}
	assert.EqualValues(t, 0o755, headers["usr/local/bin/server"].Mode)
	assert.EqualValues(t, 0o755, headers["etc/server/more/run.sh"].Mode)
	assert.EqualValues(t, 0o644, headers["etc/server/server.toml"].Mode)
	assert.Equal(t, r.manifest.Assets[0].Binaries[0].SHA256, digestOf(contents["usr/local/bin/server"]))
}

// slow gives assets late, so that platforms finish in another order.
type slow struct {
	files
	first string
}

func (s slow) Open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	if strings.Contains(name, s.first) {
		time.Sleep(20 * time.Millisecond)
	}
	return s.files.Open(ctx, name)
}

func TestAssembleIsDeterministic(t *testing.T) {
	r := newRelease(t, "1.2.3", both...).seal()
	digests := map[string]bool{}
	for _, late := range both {
		for _, threads := range []int{1, runtime.NumCPU()} {
			before := runtime.GOMAXPROCS(threads)
			loaded, err := published.Load(t.Context(), slow{r.assets, late})
			require.NoError(t, err)
			digests[assembled(t, loaded, oci.AssembleOptions{}).Digest.String()] = true
			runtime.GOMAXPROCS(before)
		}
	}
	assert.Len(t, digests, 1)
	// Fixed for all time: what changes it changes the digest of every image.
	assert.Contains(t, digests, "sha256:"+goldenDigest)
}

func TestAssembleOnPins(t *testing.T) {
	r := newRelease(t, "1.2.3", both...).load()
	first := assembled(t, r, oci.AssembleOptions{})
	pins, err := oci.PinsOf(first.Index)
	require.NoError(t, err)
	assert.Len(t, pins, 2)

	// The base image moves on, and the old one is still there by digest.
	moved := moving{old: bases(t), now: ocitest.Bases{imagespec.StaticBase: baseIndex(t, "newer", types.OCIManifestSchema1, "linux/amd64", "linux/arm64")}}
	assert.NotEqual(t, first.Digest, assembled(t, r, oci.AssembleOptions{Bases: moved}).Digest)
	assert.Equal(t, first.Digest, assembled(t, r, oci.AssembleOptions{Bases: pins.With(moved)}).Digest)
}

type moving struct{ old, now ocitest.Bases }

func (m moving) Base(ctx context.Context, ref, platform string) (oci.Base, error) {
	if strings.Contains(ref, "@") {
		return m.old.Base(ctx, ref, platform)
	}
	return m.now.Base(ctx, ref, platform)
}

func TestAssembleIsSmall(t *testing.T) {
	r := newRelease(t, "1.2.3")
	for _, triple := range both {
		r.add(triple, r.binary(triple, "server", 1<<20), r.binary(triple, "server-cli", 1<<20))
	}
	image := r.assemble()
	for _, p := range image.Platforms {
		total := int64(0)
		m := must(p.Image.Manifest())
		base := must(bases(t).Base(t.Context(), p.Base, p.Platform))
		for _, l := range m.Layers {
			total += l.Size
		}
		total += m.Config.Size + must(p.Image.Size())
		for _, l := range must(base.Image.Manifest()).Layers {
			total -= l.Size
		}
		assert.Less(t, total-2<<20, int64(20<<10), "image of %s less its base and binaries", p.Platform)
	}
	_, _, contents := topLayer(t, image.Platforms[0].Image)
	assert.Contains(t, contents, "usr/local/bin/server-cli")
	assert.Equal(t, []string{"/usr/local/bin/server"}, must(image.Platforms[0].Image.ConfigFile()).Config.Entrypoint)
}

func TestAssembleOnScratch(t *testing.T) {
	r := newRelease(t, "1.2.3", both...)
	r.manifest.Image.Base = imagespec.Scratch
	image := r.assemble()
	require.NoError(t, validate.Index(image.Index))
	m := must(image.Platforms[0].Image.Manifest())
	assert.Len(t, m.Layers, 1)
	assert.NotContains(t, m.Annotations, "org.opencontainers.image.base.name")
	assert.Empty(t, pinsOf(image))
	assert.Equal(t, "linux/amd64", must(image.Platforms[0].Image.ConfigFile()).Platform().String())
}

func TestAssembleConvertsDockerBases(t *testing.T) {
	image := newRelease(t, "1.2.3", "x86_64-unknown-linux-gnu").assemble()
	require.NoError(t, validate.Index(image.Index))
	for _, l := range must(image.Platforms[0].Image.Manifest()).Layers {
		assert.Equal(t, types.OCILayer, l.MediaType)
	}
}

func TestAssembleRefuses(t *testing.T) {
	image := func(i manifest.Image) func(*release) {
		return func(r *release) { r.manifest.Image = &i }
	}
	cases := []struct {
		name   string
		change func(*release)
		want   error
		text   string
	}{
		{"platform without an archive", image(manifest.Image{Platforms: []string{"linux/s390x"}}), imagespec.ErrSpec, `no archive for platform "linux/s390x"`},
		{"include that isn't there", image(manifest.Image{Include: map[string]string{"confg": "/etc/server"}}), imagespec.ErrSpec, `include "confg" is not in archive`},
		{"two to one place", image(manifest.Image{Include: map[string]string{"LICENSE": "/a", "config/server.toml": "/a"}}), imagespec.ErrSpec, `go to "/a"`},
		{"below a file", image(manifest.Image{Include: map[string]string{"LICENSE": "/a", "config/server.toml": "/a/b"}}), imagespec.ErrSpec, `below the file`},
		{"over a binary", image(manifest.Image{Include: map[string]string{"LICENSE": "/usr/local/bin/server"}}), imagespec.ErrSpec, `go to "/usr/local/bin/server"`},
		{"a link of the base", image(manifest.Image{Include: map[string]string{"LICENSE": "/lib/x"}}), imagespec.ErrSpec, `below "/lib"`},
		{"a whiteout", image(manifest.Image{Include: map[string]string{"LICENSE": "/etc/.wh.passwd"}}), imagespec.ErrSpec, "would delete"},
		{"the root", image(manifest.Image{Include: map[string]string{"LICENSE": "/"}}), nil, ""},
		{"a label of the release", image(manifest.Image{Labels: map[string]string{"org.opencontainers.image.version": "9"}}), imagespec.ErrSpec, "can't be set"},
		{"an unknown base", image(manifest.Image{Base: "example.com/base:1"}), oci.ErrNotFound, `"example.com/base:1"`},
		{"no entrypoint", func(r *release) {
			r.manifest.Assets = nil
			r.add(both[0], r.binary(both[0], "a", 100), r.binary(both[0], "b", 100))
		}, imagespec.ErrSpec, "any of a, b may be the entrypoint"},
		{"no platform in the base", func(r *release) {
			r.add("powerpc64le-unknown-linux-gnu", r.binary("powerpc64le-unknown-linux-gnu", "server", 100))
		},
			imagespec.ErrBase, `no platform "linux/ppc64le"`},
		{"only other systems", func(r *release) {
			r.manifest.Assets = nil
			r.add("aarch64-apple-darwin", r.binary("aarch64-apple-darwin", "server", 100))
		},
			imagespec.ErrSpec, "no archive for Linux"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRelease(t, "1.2.3", both...)
			c.change(r)
			dir := t.TempDir()
			_, err := oci.Assemble(t.Context(), r.load(), oci.AssembleOptions{Bases: bases(t), Dir: dir})
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
			assert.ErrorContains(t, err, c.text)
			assertEmpty(t, dir)
		})
	}
}

// What the release says has to be so in every one of its files.
func TestAssembleRefusesWhatDiffers(t *testing.T) {
	archiveOf := func(r *release) *manifest.Asset { return &r.manifest.Assets[0] }
	page := []byte("<!DOCTYPE html>\n<html><body>Sign in</body></html>")
	cases := []struct {
		name   string
		change func(*release) // the manifest, before it is sealed
		spoil  func(*release) // the assets, after
		text   string
	}{
		{"a flipped byte", nil, func(r *release) { r.assets[archiveOf(r).Name][100] ^= 1 }, "has SHA-256"},
		{"a truncated download", nil, func(r *release) { n := archiveOf(r).Name; r.assets[n] = r.assets[n][:1000] }, "cut off"},
		{"a longer one", nil, func(r *release) { n := archiveOf(r).Name; r.assets[n] = append(r.assets[n], 0) }, "more than"},
		{"a page for an archive", nil, func(r *release) { r.assets[archiveOf(r).Name] = page }, "HTML page"},
		{"a page for the manifest", nil, func(r *release) { r.assets[manifest.FileName] = page }, "HTML page"},
		{"a page for the sums", nil, func(r *release) { r.assets[manifest.SumsName] = page }, "HTML page"},
		{"no manifest", nil, func(r *release) { delete(r.assets, manifest.FileName) }, "no asset"},
		{"another manifest", nil, func(r *release) {
			r.assets[manifest.FileName] = bytes.Replace(r.assets[manifest.FileName], []byte("Streams"), []byte("Strains"), 1)
		}, "but SHA256SUMS lists"},
		{"sums that lie", nil, func(r *release) {
			sums := must(archive.ParseSums(r.assets[manifest.SumsName]))
			sums[archiveOf(r).Name] = strings.Repeat("0", 64)
			r.assets[manifest.SumsName] = must(sums.Format())
		}, "SHA256SUMS"},
		{"sums of more", nil, func(r *release) {
			sums := must(archive.ParseSums(r.assets[manifest.SumsName]))
			sums["other"] = strings.Repeat("0", 64)
			r.assets[manifest.SumsName] = must(sums.Format())
		}, `"other"`},
		{"an oversized manifest", nil, func(r *release) { r.assets[manifest.FileName] = make([]byte, manifest.MaxSize+1) }, "more than"},
		{"a manifest that lies about a binary", func(r *release) { archiveOf(r).Binaries[0].SHA256 = strings.Repeat("0", 64) }, nil, "it has SHA-256"},
		{"a file that isn't in the manifest", func(r *release) { archiveOf(r).Files = archiveOf(r).Files[1:] }, nil, "it is not listed in release-manifest.json"},
		{"a file that isn't in the archive", func(r *release) {
			f := archiveOf(r).Files[0]
			f.Path = strings.Split(f.Path, "/")[0] + "/other"
			archiveOf(r).Files = append(archiveOf(r).Files, f)
		}, nil, "it lacks file"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRelease(t, "1.2.3", both...)
			if c.change != nil {
				c.change(r)
			}
			r.seal()
			if c.spoil != nil {
				c.spoil(r)
			}
			dir := t.TempDir()
			loaded, err := published.Load(t.Context(), r.assets)
			if err == nil {
				_, err = oci.Assemble(t.Context(), loaded, oci.AssembleOptions{Bases: bases(t), Dir: dir})
			}
			require.Error(t, err)
			if c.name != "no manifest" {
				require.ErrorIs(t, err, published.ErrMismatch)
			}
			assert.ErrorContains(t, err, c.text)
			assertEmpty(t, dir)
		})
	}
}

func TestAssembleRefusesHostileArchives(t *testing.T) {
	good := func(name string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Linkname: "content"}
	}
	cases := []struct {
		name    string
		headers func(binary string) []*tar.Header
		want    error
	}{
		{"escape", func(b string) []*tar.Header { return []*tar.Header{good(b), good("../../etc/passwd")} }, notation.ErrUnsafePath},
		{"absolute", func(b string) []*tar.Header { return []*tar.Header{good(b), good("/etc/passwd")} }, notation.ErrUnsafePath},
		{"symbolic link", func(b string) []*tar.Header {
			return []*tar.Header{good(b), {Typeflag: tar.TypeSymlink, Name: "x", Linkname: "/etc"}}
		}, archive.ErrNotRegular},
		{"hard link", func(b string) []*tar.Header {
			return []*tar.Header{good(b), {Typeflag: tar.TypeLink, Name: "x", Linkname: b}}
		}, archive.ErrNotRegular},
		{"device", func(b string) []*tar.Header { return []*tar.Header{good(b), {Typeflag: tar.TypeChar, Name: "x"}} }, archive.ErrNotRegular},
		{"twice", func(b string) []*tar.Header { return []*tar.Header{good(b), good(b)} }, archive.ErrDuplicate},
		{"bomb", func(b string) []*tar.Header {
			return []*tar.Header{good(b), {Typeflag: tar.TypeReg, Name: "x", Mode: 0o644, Linkname: strings.Repeat("\x00", 20<<20)}}
		}, archive.ErrLimit},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRelease(t, "1.2.3", both[0])
			a := r.manifest.Assets[0]
			root := strings.TrimSuffix(a.Name, ".tar.gz")
			a.Files = nil
			a.Binaries[0].SHA256 = digestOf([]byte("content"))
			if c.name == "bomb" {
				a.Files = []manifest.File{{Path: "x", SHA256: strings.Repeat("0", 64), Size: 20 << 20, Mode: "0644"}}
			}
			layer := tarLayer(t, types.OCILayer, c.headers(root+"/server")...)
			r.put(a, must(io.ReadAll(must(layer.Compressed()))))
			dir := t.TempDir()
			_, err := oci.Assemble(t.Context(), r.load(), oci.AssembleOptions{Bases: bases(t), Dir: dir})
			require.ErrorIs(t, err, c.want)
			assertEmpty(t, dir)
		})
	}
}

func TestChoose(t *testing.T) {
	const gnu, musl = "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"
	dynamic := func(r *release, triple, floor string, needed ...string) {
		p := r.binary(triple, "server", 100)
		p.Linkage, p.GlibcFloor, p.Needed = "dynamic", floor, needed
		r.add(triple, p)
	}
	cases := []struct {
		name   string
		make   func(*release)
		on     string // the configured base
		target string
		base   string
		fails  string
	}{
		{name: "static before dynamic", make: func(r *release) { dynamic(r, gnu, "2.34"); r.add(musl, r.binary(musl, "server", 100)) }, target: musl, base: imagespec.StaticBase},
		{name: "dynamic", make: func(r *release) { dynamic(r, gnu, "2.36", "libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2") }, target: gnu, base: imagespec.GlibcBase},
		{name: "floor too high", make: func(r *release) { dynamic(r, gnu, "2.37") }, fails: "needs glibc 2.37"},
		{name: "floor on another base", make: func(r *release) { dynamic(r, gnu, "2.38") },
			on: "ubuntu:24.04", target: gnu, base: "ubuntu:24.04"},
		{name: "a library too many", make: func(r *release) { dynamic(r, gnu, "2.34", "libz.so.1") }, fails: `needs the library "libz.so.1"`},
		{name: "dynamic on static", make: func(r *release) { dynamic(r, gnu, "2.34") }, on: imagespec.StaticBase, fails: "has no loader"},
		{name: "dynamic on scratch", make: func(r *release) { dynamic(r, gnu, "2.34") }, on: imagespec.Scratch, fails: "has no loader"},
		{name: "glibc on Alpine", make: func(r *release) { dynamic(r, gnu, "2.34") }, on: "docker.io/library/alpine:3.22", fails: "has musl"},
		{name: "dynamic musl", make: func(r *release) { dynamic(r, musl, "") }, fails: "set base"},
		{name: "dynamic musl on Alpine", make: func(r *release) { dynamic(r, musl, "") }, on: "alpine:3.22", target: musl, base: "alpine:3.22"},
		{name: "static gnu", make: func(r *release) {
			p := r.binary(gnu, "server", 100)
			p.Linkage, p.GlibcFloor, p.Needed = "static", "", nil
			r.add(gnu, p)
		}, target: gnu, base: imagespec.StaticBase},
		{name: "own base", make: func(r *release) { dynamic(r, gnu, "2.99"); r.manifest.Image.Base = "example.com/own:1" }, target: gnu, base: "example.com/own:1"},
		{name: "base without C++", make: func(r *release) { dynamic(r, gnu, "2.34", "libgcc_s.so.1") },
			on: "gcr.io/distroless/base-debian12", fails: `needs the library "libgcc_s.so.1"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRelease(t, "1.2.3")
			c.make(r)
			if c.on != "" {
				r.manifest.Image.Base = c.on
			}
			choices, err := imagespec.Choose(r.load().Manifest)
			if c.fails != "" {
				require.ErrorIs(t, err, imagespec.ErrBase)
				assert.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			require.Len(t, choices, 1)
			assert.Equal(t, c.target, choices[0].Target)
			assert.Equal(t, c.base, choices[0].Base)
		})
	}
}

func TestLayout(t *testing.T) {
	image := newRelease(t, "1.2.3", both...).assemble()
	tarball := func() ([]byte, string) {
		dir := t.TempDir()
		require.NoError(t, oci.WriteLayout(dir, image.Index, "1.2.3"))
		var text bytes.Buffer
		require.NoError(t, oci.WriteTarball(&text, dir))
		return text.Bytes(), dir
	}
	first, dir := tarball()
	second, _ := tarball()
	assert.Equal(t, digestOf(first), digestOf(second))

	index, err := oci.ReadLayout(dir)
	require.NoError(t, err)
	assert.Equal(t, image.Digest, must(index.Digest()))
	require.NoError(t, validate.Index(index))

	index, err = oci.ReadTarball(bytes.NewReader(first), t.TempDir())
	require.NoError(t, err)
	assert.Equal(t, image.Digest, must(index.Digest()))

	at := bytes.Index(first, []byte("base.name")) // in some manifest
	first[at] ^= 1
	_, err = oci.ReadTarball(bytes.NewReader(first), t.TempDir())
	require.ErrorIs(t, err, oci.ErrLayout)

	for _, name := range []string{"../x", "/x", "blobs/sha256/../../x", "blobs/sha512/x", "index.json/x"} {
		layer := tarLayer(t, types.OCILayer, &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644})
		_, err := oci.ReadTarball(must(layer.Uncompressed()), t.TempDir())
		require.ErrorIs(t, err, oci.ErrLayout, name)
	}
	link := tarLayer(t, types.OCILayer, &tar.Header{Typeflag: tar.TypeSymlink, Name: "index.json", Linkname: "/etc/passwd"})
	_, err = oci.ReadTarball(must(link.Uncompressed()), t.TempDir())
	require.ErrorIs(t, err, oci.ErrLayout)
}

var _ v1.Layer = gzipped{}
