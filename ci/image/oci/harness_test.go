package oci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/target"
	"dagger/gantry/ci/version"
)

// files are the assets of a release.
type files map[string][]byte

func (f files) Open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	content, ok := f[name]
	if !ok {
		return nil, 0, fmt.Errorf("no asset %q", name)
	}
	return io.NopCloser(bytes.NewReader(content)), int64(len(content)), nil
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

var (
	commit = strings.Repeat("c", 40)
	date   = time.Date(2026, 4, 14, 9, 30, 0, 0, time.UTC)
)

// release is a release in the making.
type release struct {
	t        testing.TB
	manifest *manifest.Manifest
	assets   files
}

// newRelease has an archive, of one binary, for every target.
func newRelease(t testing.TB, number string, targets ...string) *release {
	v, err := version.Parse(number)
	require.NoError(t, err)
	r := &release{t: t, assets: files{}, manifest: &manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Component: "server", Tag: "server-" + number, Version: number,
		Channel: version.Channel(v), Commit: commit, CommitDate: date.Format(time.RFC3339),
		Repository: "https://github.com/acme/server", Description: "Streams messages", License: "MIT",
		Toolchain: manifest.Toolchain{Rustc: "rustc 1.85.0", Cargo: "cargo 1.85.0"},
		Image:     &manifest.Image{},
	}}
	for _, triple := range targets {
		r.add(triple, r.binary(triple, "server", 4<<10))
	}
	return r
}

// program is one binary of an archive, and its facts.
type program struct {
	manifest.Binary
	content []byte
}

// binary has content that doesn't compress, which depends on the version.
func (r *release) binary(triple, name string, size int) program {
	source := rand.NewChaCha8(sha256.Sum256([]byte(r.manifest.Version + triple + name)))
	content := make([]byte, size)
	_, _ = source.Read(content)
	copy(content, "\x7fELF")
	arch := target.Target{Arch: strings.Split(triple, "-")[0]}
	if known, err := target.Lookup(triple); err == nil {
		arch = known
	}
	p := program{manifest.Binary{Name: name, Package: "server", Format: "elf", Arch: arch.Arch, Linkage: "static"}, content}
	if arch.Libc == "gnu" {
		p.Linkage, p.GlibcFloor, p.Needed = "dynamic", "2.34", []string{"libgcc_s.so.1", "libc.so.6"}
	}
	return p
}

// add makes the archive of a target.
func (r *release) add(triple string, programs ...program) {
	root := "server-" + r.manifest.Version + "-" + triple
	license, config := []byte("MIT\n"), []byte("port = 8080\n")
	entries := []archive.Entry{
		bytesEntry("LICENSE", 0o644, license),
		bytesEntry("config/server.toml", 0o644, config),
		bytesEntry("config/more/run.sh", 0o755, config),
	}
	a := manifest.Asset{Name: root + ".tar.gz", Kind: manifest.KindArchive, Target: triple, Files: []manifest.File{
		{Path: root + "/LICENSE", SHA256: digestOf(license), Size: int64(len(license)), Mode: "0644"},
		{Path: root + "/config/more/run.sh", SHA256: digestOf(config), Size: int64(len(config)), Mode: "0755"},
		{Path: root + "/config/server.toml", SHA256: digestOf(config), Size: int64(len(config)), Mode: "0644"},
	}}
	for _, p := range programs {
		p.Path, p.SHA256, p.Size = root+"/"+p.Name, digestOf(p.content), int64(len(p.content))
		entries = append(entries, bytesEntry(p.Name, 0o755, p.content))
		a.Binaries = append(a.Binaries, p.Binary)
	}
	var text bytes.Buffer
	require.NoError(r.t, archive.Write(&text, archive.TarGz, root, date, entries))
	r.put(a, text.Bytes())
}

// put adds an archive, or puts another in its place.
func (r *release) put(a manifest.Asset, content []byte) {
	a.SHA256, a.Size = digestOf(content), int64(len(content))
	r.assets[a.Name] = content
	for i := range r.manifest.Assets {
		if r.manifest.Assets[i].Name == a.Name {
			r.manifest.Assets[i] = a
			return
		}
	}
	r.manifest.Assets = append(r.manifest.Assets, a)
}

// seal writes the manifest and the checksums.
func (r *release) seal() *release {
	text, err := r.manifest.Marshal()
	require.NoError(r.t, err)
	r.assets[manifest.FileName] = text
	sums := archive.Sums{manifest.FileName: digestOf(text)}
	for _, a := range r.manifest.Assets {
		sums[a.Name] = a.SHA256
	}
	lines, err := sums.Format()
	require.NoError(r.t, err)
	r.assets[manifest.SumsName] = lines
	return r
}

func (r *release) load() *published.Release {
	loaded, err := published.Load(context.Background(), r.seal().assets)
	require.NoError(r.t, err)
	return loaded
}

var both = []string{"aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl"}

// assemble makes the image of a release on the base images of the tests.
func (r *release) assemble() *oci.Image {
	return assembled(r.t, r.load(), oci.AssembleOptions{})
}

func assembled(t testing.TB, r *published.Release, o oci.AssembleOptions) *oci.Image {
	if o.Bases == nil {
		o.Bases = bases(t)
	}
	o.Dir = t.TempDir()
	image, err := oci.Assemble(context.Background(), r, o)
	require.NoError(t, err)
	return image
}

// bases are stand-ins of the default ones.
func bases(t testing.TB) ocitest.Bases {
	platforms := []string{"linux/amd64", "linux/arm64/v8", "linux/arm/v7"}
	return ocitest.Bases{
		imagespec.StaticBase: baseIndex(t, "static", types.OCIManifestSchema1, platforms...),
		imagespec.GlibcBase:  baseIndex(t, "cc", types.DockerManifestSchema2, platforms...),
	}
}

func baseIndex(t testing.TB, name string, mediaType types.MediaType, platforms ...string) v1.ImageIndex {
	layerType, index := types.OCILayer, mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	if mediaType == types.DockerManifestSchema2 {
		layerType, index = types.DockerLayer, mutate.IndexMediaType(empty.Index, types.DockerManifestList)
	}
	for _, platform := range platforms {
		p, err := v1.ParsePlatform(platform)
		require.NoError(t, err)
		img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, mediaType), tarLayer(t, layerType,
			&tar.Header{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755},
			&tar.Header{Typeflag: tar.TypeReg, Name: "etc/os-release", Mode: 0o644, Size: int64(len(name + platform)), Linkname: name + platform},
		))
		require.NoError(t, err)
		img, err = mutate.ConfigFile(img, &v1.ConfigFile{
			OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
			RootFS:  must(img.ConfigFile()).RootFS,
			History: []v1.History{{CreatedBy: "base"}},
			Config: v1.Config{
				Env: []string{"PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}, User: "0", WorkingDir: "/home/nonroot",
				Entrypoint: []string{"/base"}, Cmd: []string{"base"},
				Labels: map[string]string{"org.opencontainers.image.title": "base", "maintainer": "base"},
			},
		})
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
	}
	return index
}

// tarLayer is a layer of entries; the content of a file is its link name.
func tarLayer(t testing.TB, mediaType types.MediaType, headers ...*tar.Header) v1.Layer {
	var text bytes.Buffer
	z, err := archive.NewGzipWriter(&text)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	for _, h := range headers {
		h := *h
		content := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Linkname, h.Size = "", int64(len(content))
		}
		require.NoError(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, content)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return gzipped{static.NewLayer(text.Bytes(), mediaType), text.Bytes()}
}

// gzipped is a layer that knows what it is when it is unpacked.
type gzipped struct {
	v1.Layer
	text []byte
}

func (g gzipped) Uncompressed() (io.ReadCloser, error) { return unzip(g.text) }

func (g gzipped) DiffID() (v1.Hash, error) {
	r, err := unzip(g.text)
	if err != nil {
		return v1.Hash{}, err
	}
	h, _, err := v1.SHA256(r)
	return h, err
}

// pinsOf are the base images that an image says it was made on.
func pinsOf(image *oci.Image) oci.Pins { return must(oci.PinsOf(image.Index)) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// peer is a registry in this process, whose requests may be spoiled.
type peer struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
	// spoil is asked before every request, with its number from 1 on; it
	// returns true when it answered itself.
	spoil func(n int, w http.ResponseWriter, r *http.Request) bool
	// after is called when a request was answered.
	after func(r *http.Request)
	// inner is the registry itself.
	inner http.Handler
}

func newPeer(t testing.TB) *peer {
	p := &peer{}
	p.Server = httptest.NewServer(p.wrap(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(p.Close)
	return p
}

func (p *peer) wrap(inner http.Handler) http.Handler {
	p.inner = inner
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests = append(p.requests, r.Method+" "+r.URL.Path)
		n, spoil, after := len(p.requests), p.spoil, p.after
		p.mu.Unlock()
		if spoil != nil && spoil(n, w, r) {
			return
		}
		inner.ServeHTTP(w, r)
		if after != nil {
			after(r)
		}
	})
}

// set replaces what spoils requests, and counts from 1 again.
func (p *peer) set(spoil func(n int, w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoil, p.requests = spoil, nil
}

func (p *peer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests)
}

func (p *peer) address(name string) string { return strings.TrimPrefix(p.URL, "http://") + "/" + name }

// fast are options that wait for nothing.
var fast = oci.RegistryOptions{Tries: 3, Wait: time.Millisecond, Timeout: 5 * time.Second}

func (p *peer) repository(t testing.TB, o oci.RegistryOptions) *oci.Repository {
	r, err := oci.NewRepository(p.address("acme/server"), o)
	require.NoError(t, err)
	return r
}

// tags of a repository and their digests.
func (p *peer) tags(t testing.TB) map[string]string {
	p.mu.Lock()
	spoil, after := p.spoil, p.after
	p.spoil, p.after = nil, nil
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.spoil, p.after = spoil, after
		p.mu.Unlock()
	}()
	r := p.repository(t, fast)
	all := map[string]string{}
	names, err := r.Tags(context.Background())
	require.NoError(t, err)
	for _, name := range names {
		d, err := r.Digest(context.Background(), name)
		require.NoError(t, err)
		all[name] = d.String()
	}
	return all
}

// layer files of an image's topmost layer, by path, with their headers.
func topLayer(t testing.TB, img v1.Image) (names []string, headers map[string]*tar.Header, contents map[string][]byte) {
	layers, err := img.Layers()
	require.NoError(t, err)
	r, err := layers[len(layers)-1].Uncompressed()
	require.NoError(t, err)
	defer r.Close()
	headers, contents = map[string]*tar.Header{}, map[string][]byte{}
	for reader := tar.NewReader(r); ; {
		h, err := reader.Next()
		if err == io.EOF {
			return names, headers, contents
		}
		require.NoError(t, err)
		names = append(names, h.Name)
		headers[path.Clean(h.Name)] = h
		contents[path.Clean(h.Name)], err = io.ReadAll(reader)
		require.NoError(t, err)
	}
}

// goldenDigest is that of the image of the release 1.2.3.
const goldenDigest = "3f46bfb1ffd65e34c9cfb30cd4b335c961631ef0fe1e97c54bb9c7c8ab98de6d"

// assertEmpty makes sure that nothing was left behind.
func assertEmpty(t testing.TB, dir string) {
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// bytesEntry returns an entry with the given content.
func bytesEntry(path string, mode fs.FileMode, content []byte) archive.Entry {
	return archive.Entry{Path: path, Mode: mode, Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}
