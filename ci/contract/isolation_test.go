package contract_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/event"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/version"
)

// Whatever goes wrong in phase 2, the release stays what it was, no tag of an
// image is ever wrong, and the next run of phase 2 alone ends where a run
// without trouble does.
func TestIsolation(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // more than a thousand runs leave much behind
	b := newBench(t)
	cells := slices.Concat(
		registryCells(b), diskCells(b), authCells(), slowCells(),
		baseCells(b), smokeCells(), hubCells(b), eventCells(b),
	)
	second := make([]bool, len(cells))
	t.Run("cells", func(t *testing.T) {
		for i, c := range cells {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				second[i] = b.run(t, c, sources[i%len(sources)])
			})
		}
	})
	// Which kinds of trouble take a second run is no accident: none of those that
	// are tried again, every one that is an error, and for those that meet the one
	// try of a request, not more than there are requests whose answer matters.
	kinds := map[string]*tally{}
	for i, c := range cells {
		kind := kindOf(c)
		if kinds[kind] == nil {
			kinds[kind] = &tally{}
		}
		kinds[kind].add(c, second[i])
	}
	total := tally{}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		k := kinds[kind]
		assert.Equal(t, k.must, k.did, "%s: second runs of cells that are errors", kind)
		assert.Zero(t, k.mustNot, "%s: second runs of cells that are tried again", kind)
		total.cells, total.did, total.may = total.cells+k.cells, total.did+k.did, total.may+k.may
	}
	assert.GreaterOrEqual(t, total.cells, 600, "the matrix has lost cells")
	for kind, atLeast := range map[string]int{
		"registry/429": 40, "registry/500 once": 40, "registry/reset in the answer, tried again": 40, "registry/500 from then on": 40,
		"disk full": 40, "github": 80, "base": 80, "event": 100,
	} {
		n := 0
		for other, k := range kinds {
			if other == kind || strings.HasPrefix(other, kind+"/") {
				n += k.cells
			}
		}
		assert.GreaterOrEqual(t, n, atLeast, "the matrix has lost cells of %q", kind)
	}
	t.Logf("%d cells, %d of which needed a second run", total.cells, total.did+total.may)
}

// tally counts the second runs of a kind of cells: of those that are errors, of
// those that must be none, and of those that may be.
type tally struct{ cells, must, did, mustNot, may int }

func (k *tally) add(c cell, second bool) {
	k.cells++
	if c.says != "" {
		k.must++
	}
	switch {
	case !second:
	case c.says != "":
		k.did++
	case c.whole:
		k.mustNot++
	default:
		k.may++
	}
}

// kindOf is the name of a cell without what numbers it.
func kindOf(c cell) string {
	for _, numbered := range []string{"/request ", "/write ", " from write "} {
		if kind, _, ok := strings.Cut(c.name, numbered); ok {
			return kind
		}
	}
	return c.name
}

// cell is one thing that goes wrong.
type cell struct {
	name string
	// empty leaves the registry without the image of the version before.
	empty bool
	// setup is what happened before; by default, nothing.
	setup func(w *world) error
	// arm sets up what goes wrong in the first run.
	arm func(w *world)
	// first is what is done meanwhile, again what is done when it is over. By
	// default, phase 2 of v1.1.0, and what was done first.
	first, again func(w *world) error
	// says is in the first run's error. whole says that there is none. With
	// neither, the run may fail or not.
	says  string
	whole bool
	// overlaps is true if two runs write at the same time.
	overlaps bool
	// want are the tags in the end; by default, those of 1.0.0 and 1.1.0.
	want func(w *world) tagMap
}

// tagMap has the digest of every tag.
type tagMap map[string]string

const (
	slug = "acme/server"
	sha  = "0123456789abcdef0123456789abcdef01234567"
)

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

var sources = []event.Source{event.SourceDispatch, event.SourceRelease, event.SourceWorkflow, event.SourceTag}

// run carries out a cell, and says whether it took a second run.
func (b *bench) run(t *testing.T, c cell, source event.Source) bool {
	w := b.world(t, c.empty)
	w.source = source
	phase2 := func(w *world) error { return w.phase2("v1.1.0") }
	if c.first == nil {
		c.first = phase2
	}
	if c.again == nil {
		c.again = c.first
	}
	if c.want == nil {
		c.want = func(*world) tagMap { return b.want }
	}
	if c.setup != nil {
		require.NoError(t, c.setup(w))
	}
	if c.arm != nil {
		c.arm(w)
	}
	w.tags.overlaps = c.overlaps
	first := c.first(w)
	w.tags.check(t)
	switch {
	case c.says != "":
		require.ErrorContains(t, first, c.says)
	case c.whole:
		require.NoError(t, first)
	}

	w.heal()
	want := c.want(w)
	require.NoError(t, c.again(w), "the run after: %v", first)
	w.untouched()
	w.tags.check(t)
	require.Equal(t, want, w.now(), "after: %v", first)
	if first == nil {
		assert.Zero(t, w.registry.wrote(), "what is right was sent again")
	}
	w.verify(want)
	return first != nil
}

// bench is what all cells have in common, and none changes.
type bench struct {
	t        *testing.T
	signer   attest.Signer // of all images but before
	releases []fakehub.Seed
	payloads map[string]event.Payload
	// bases of today, and the one of before, which 1.0.0 was made on.
	bases, older v1.ImageIndex
	registry     http.Handler // of base images, today's
	before       *oci.Image   // 1.0.0
	// The tags of undisturbed runs: 1.1.0 after 1.0.0, the same on the base image
	// of before, the prerelease after 1.0.0, and both stable ones in their order.
	want, onOlder, candidate, ordered tagMap
	// How many requests a run makes: to the registry, those that write among
	// them, to GitHub, and for base images; to the registry where all is there;
	// and how many that write for an older release that comes late.
	requests, writes, calls, reads, idle, late int
}

var platforms = []string{"aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl"}

func newBench(t *testing.T) *bench {
	key, err := attest.NewKey()
	require.NoError(t, err)
	b := &bench{t: t, signer: attest.Signer{Author: key}, payloads: map[string]event.Payload{}, bases: base(t, "today"), older: base(t, "before"), registry: quiet()}
	for _, number := range []string{"1.0.0", "1.1.0", "1.2.0-rc.1"} {
		b.ship(t, number)
	}
	push(t, b.registry, b.bases)
	r, err := published.Load(t.Context(), loaded(b.releases[0].Files))
	require.NoError(t, err)
	b.before, err = oci.Assemble(t.Context(), r, oci.AssembleOptions{Bases: ocitest.Bases{imagespec.StaticBase: b.older}, Dir: t.TempDir()})
	require.NoError(t, err)

	w := b.world(t, false)
	w.bases = w.remoteBases(nil)
	require.NoError(t, w.phase2("v1.1.0"))
	b.want = w.now()
	b.requests, b.writes, b.calls, b.reads = w.registry.n, w.registry.writes, len(w.hub.Calls()), w.base.n
	w.registry.set(t, nil)
	require.NoError(t, w.phase2("v1.1.0"))
	b.idle = w.registry.n

	w = b.world(t, false)
	w.bases = ocitest.Bases{imagespec.StaticBase: b.older}
	require.NoError(t, w.phase2("v1.1.0"))
	b.onOlder = w.now()
	require.NotEqual(t, b.want["1.1.0"], b.onOlder["1.1.0"])

	w = b.world(t, false)
	require.NoError(t, w.phase2("v1.2.0-rc.1"))
	b.candidate = w.now()

	w = b.world(t, true)
	require.NoError(t, runs("v1.0.0", "v1.1.0")(w))
	b.ordered = w.now()
	w = b.world(t, true)
	require.NoError(t, w.phase2("v1.1.0"))
	w.registry.set(t, nil)
	w.jobs = 1
	require.NoError(t, w.phase2("v1.0.0"))
	b.late = w.registry.wrote()
	exact, before := b.want["1.1.0"], b.before.Digest.String()
	require.NotEmpty(t, exact)
	require.Equal(t, tagMap{"1.0.0": before, "1.0": before, "1.1.0": exact, "1.1": exact, "1": exact, "latest": exact}, b.want)
	rc, first := b.candidate["rc"], b.ordered["1.0.0"]
	require.Equal(t, tagMap{"1.0.0": before, "1.0": before, "1": before, "latest": before, "1.2.0-rc.1": rc, "rc": rc}, b.candidate)
	require.Equal(t, tagMap{"1.0.0": first, "1.0": first, "1.1.0": exact, "1.1": exact, "1": exact, "latest": exact}, b.ordered)
	return b
}

// ship makes a release as phase 1 leaves it: small programs, which don't
// compress.
func (b *bench) ship(t *testing.T, number string) {
	v, err := version.Parse(number)
	require.NoError(t, err)
	date := time.Date(2026, 4, 14, 9, 30, 0, 0, time.UTC)
	m := manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Component: "server", Tag: "v" + number, Version: number, Channel: version.Channel(v),
		Commit: sha, CommitDate: date.Format(time.RFC3339), Repository: "https://github.com/" + slug,
		Toolchain: manifest.Toolchain{Rustc: "rustc 1.96.0", Cargo: "cargo 1.96.0"}, Image: &manifest.Image{},
	}
	seed := fakehub.Seed{Tag: m.Tag, Commit: sha, Title: m.Tag, Body: "What changed.", Prerelease: v.Prerelease() != "", Latest: number == "1.1.0"}
	sums := archive.Sums{}
	add := func(name string, content []byte) string {
		require.NoError(t, sums.Add(name, digest(content)))
		seed.Files = append(seed.Files, fakehub.File{Name: name, Data: content})
		return digest(content)
	}
	for _, triple := range platforms {
		root := "server-" + number + "-" + triple
		program := []byte("\x7fELF")
		for i := range 32 {
			program = append(program, digest(fmt.Append(nil, root, i))...)
		}
		var text bytes.Buffer
		require.NoError(t, archive.Write(&text, archive.TarGz, root, date, []archive.Entry{bytesEntry("server", 0o755, program)}))
		a := manifest.Asset{Name: root + ".tar.gz", Kind: manifest.KindArchive, Target: triple, Size: int64(text.Len())}
		a.SHA256 = add(a.Name, text.Bytes())
		arch, _, _ := strings.Cut(triple, "-")
		a.Binaries = []manifest.Binary{{
			Name: "server", Package: "server", Path: root + "/server", SHA256: digest(program), Size: int64(len(program)),
			Format: "elf", Arch: arch, Linkage: "static",
		}}
		m.Assets = append(m.Assets, a)
		bill := fmt.Appendf(nil, `{"bomFormat":"CycloneDX","of":%q}`, a.Name)
		m.Assets = append(m.Assets, manifest.Asset{
			Name: root + ".cdx.json", Kind: manifest.KindSBOM, Target: triple, Size: int64(len(bill)), SHA256: add(root+".cdx.json", bill),
		})
	}
	text, err := m.Marshal()
	require.NoError(t, err)
	b.payloads[m.Tag], err = event.NewPayload(slug, &m, add(manifest.FileName, text))
	require.NoError(t, err)
	lines, err := sums.Format()
	require.NoError(t, err)
	seed.Files = append(seed.Files, fakehub.File{Name: manifest.SumsName, Data: lines})
	b.releases = append(b.releases, seed)
}

// loaded are files of a release as [published.Assets].
type loaded []fakehub.File

func (l loaded) Open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	i := slices.IndexFunc(l, func(f fakehub.File) bool { return f.Name == name })
	return io.NopCloser(bytes.NewReader(l[i].Data)), int64(len(l[i].Data)), nil
}

// base is a stand-in of the default base image.
func base(t *testing.T, content string, only ...string) v1.ImageIndex {
	if len(only) == 0 {
		only = []string{"linux/amd64", "linux/arm64"}
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, text := range only {
		p, err := v1.ParsePlatform(text)
		require.NoError(t, err)
		var files bytes.Buffer
		z, err := archive.NewGzipWriter(&files)
		require.NoError(t, err)
		w := tar.NewWriter(z)
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/" + content, Size: int64(len(text))}))
		_, err = io.WriteString(w, text)
		require.NoError(t, errors.Join(err, w.Close(), z.Close()))
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
		require.NoError(t, err)
		img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, RootFS: v1.RootFS{Type: "layers"}})
		require.NoError(t, err)
		img, err = mutate.AppendLayers(mutate.ConfigMediaType(img, types.OCIConfigJSON), layer)
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
	}
	return index
}

func quiet() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

// push puts a base image into its registry.
func push(t *testing.T, h http.Handler, index v1.ImageIndex) {
	ref, err := name.ParseReference(imagespec.StaticBase)
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(ref, index, remote.WithTransport(ocitest.Within{Handler: h})))
}

// world is a GitHub with releases and a registry with images, of one cell.
type world struct {
	*bench
	t        *testing.T
	hub      *fakehub.Local
	state    string // of the hub, to begin with
	ids      map[string]int64
	source   event.Source
	tags     *tagLog
	registry *peer
	base     *peer // of base images; nil where they are in memory

	// What a cell may change for its first run.
	tries, jobs int
	timeout     time.Duration
	deadline    time.Duration
	bases       oci.Bases
	smoke       func(context.Context) error
	hubFaults   bool
}

func (b *bench) world(t *testing.T, empty bool) *world {
	// Every call is let through as that of somebody who may write: that nothing
	// is written is not for want of a permission.
	w := &world{bench: b, t: t, hub: fakehub.Start(fakehub.New(fakehub.Config{})), ids: map[string]int64{}, source: event.SourceTag}
	t.Cleanup(w.hub.Close)
	repo := w.hub.AddRepo("acme", "server")
	for _, s := range b.releases {
		w.ids[s.Tag] = repo.Seed(s)
	}
	w.state = w.hub.Dump()
	w.tags = &tagLog{Handler: quiet(), versions: map[string]*semver.Version{}, tested: map[string]bool{}, unsigned: b.before.Digest.String()}
	w.registry = newPeer(t, w.tags)
	w.heal()
	w.jobs = 1 // requests in the same order every time
	if !empty {
		v := semver.MustParse("1.0.0")
		w.tags.assembled(b.before.Digest.String(), v)
		_, err := oci.Publish(t.Context(), oci.Publication{Version: v, Index: b.before.Index, Smoke: func(context.Context) error {
			w.tags.passed(b.before.Digest.String())
			return nil
		}}, w.inside())
		require.NoError(t, err)
	}
	return w
}

// heal takes everything away that goes wrong. What was to go wrong has to have.
func (w *world) heal() {
	w.t.Helper()
	if w.hubFaults {
		require.Positive(w.t, w.hub.FaultsMet(), "no call to GitHub met the fault")
	}
	w.untouched()
	w.hub.Forget()
	w.registry.set(w.t, nil)
	if w.base != nil {
		w.base.set(w.t, nil)
	}
	w.tries, w.jobs, w.timeout, w.deadline, w.smoke, w.hubFaults = 3, 4, 5*time.Second, 0, nil, false
	w.bases = ocitest.Bases{imagespec.StaticBase: w.bench.bases}
}

// dispatched is the event that phase 1 sends.
func (b *bench) dispatched(tag string) string {
	text, _ := json.Marshal(map[string]any{
		"action": event.EventType, "client_payload": b.payloads[tag], "repository": map[string]any{"full_name": slug},
	})
	return string(text)
}

// event is GitHub's, of the kind that is the cell's turn.
func (w *world) event(tag string) (event.Event, error) {
	if w.source == event.SourceDispatch {
		return event.Parse([]byte(w.dispatched(tag)), slug)
	}
	e := map[string]any{"repository": map[string]any{"full_name": slug}}
	switch w.source {
	case event.SourceRelease:
		e["action"], e["release"] = "published", map[string]any{"id": w.ids[tag], "tag_name": tag, "draft": false}
	case event.SourceWorkflow:
		e["workflow"], e["inputs"], e["ref"] = "images.yml", map[string]string{"tag": tag}, "refs/heads/main"
	default:
		return event.FromTag(slug, tag)
	}
	text, err := json.Marshal(e)
	if err != nil {
		return event.Event{}, err
	}
	return event.Parse(text, slug)
}

func (w *world) options(p *peer) oci.RegistryOptions {
	return oci.RegistryOptions{
		Transport: p.transport(), Tries: w.tries, Jobs: w.jobs, Wait: time.Millisecond, Timeout: w.timeout,
		Sleep: func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) },
	}
}

// remoteBases reads base images from their own registry, of which requests may
// be spoiled.
func (w *world) remoteBases(f *fault) oci.Bases {
	w.base = newPeer(w.t, w.bench.registry)
	w.base.fault = f
	return oci.BasesFrom(func(registry, repository string) (*oci.Repository, error) {
		return oci.NewRepository(registry+"/"+repository, w.options(w.base))
	})
}

// phase2 is a run for a release, in the steps of the module's own, but for the
// containers that the smoke test starts there.
func (w *world) phase2(tag string) error { return w.phase2Of(w.event(tag)) }

func (w *world) phase2Of(e event.Event, err error) error {
	if err != nil {
		return err
	}
	ctx := w.t.Context()
	client, err := github.New(github.Options{APIURL: w.hub.URL + "api/v3/", Transport: w.hub.Transport(false, false), Clock: fakehub.NewClock(time.Now())})
	if err != nil {
		return err
	}
	r, err := published.Open(ctx, client, e, published.Options{})
	if err != nil {
		return err
	}
	repository, err := oci.NewRepository(w.registry.address(), w.options(w.registry))
	if err != nil {
		return err
	}
	before, err := oci.ReadPublished(ctx, r.ExactTag(), repository)
	if err != nil {
		return err
	}
	dir := w.t.TempDir()
	image, err := oci.Assemble(ctx, r, oci.AssembleOptions{Bases: before.Pins.With(w.bases), Dir: dir})
	if err != nil {
		return err
	}
	defer image.Close()
	index := image.Index
	if w.base != nil {
		if index, err = archived(index, dir); err != nil {
			return err
		}
	}
	bills, err := oci.Bills(r)
	if err != nil {
		return err
	}
	digest := image.Digest.String()
	w.tags.assembled(digest, r.Version())
	_, err = oci.Publish(ctx, oci.Publication{Version: r.Version(), Manifest: r.Manifest, Index: index, Known: r.Known, Flagged: r.Flagged, Attachments: bills, Sign: oci.Signatures(r, w.signer), Deadline: w.deadline, Smoke: func(ctx context.Context) error {
		if w.smoke != nil {
			if err := w.smoke(ctx); err != nil {
				return err
			}
		}
		w.tags.passed(digest)
		return nil
	}}, repository)
	return err
}

// archived is an image after its way to the engine and back. As files take
// time, it is gone only where the base image's layers come from a registry: this
// is where they are read.
func archived(index v1.ImageIndex, dir string) (v1.ImageIndex, error) {
	if err := oci.WriteLayout(filepath.Join(dir, "layout"), index, "image"); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := oci.WriteTarball(&text, filepath.Join(dir, "layout")); err != nil {
		return nil, err
	}
	return oci.ReadTarball(&text, filepath.Join(dir, "archive"))
}

// untouched makes sure that the hub is as it was and was only read.
func (w *world) untouched() {
	w.t.Helper()
	require.Equal(w.t, w.state, w.hub.Dump(), "the release changed")
	for _, c := range w.hub.Calls() {
		require.False(w.t, c.Write || c.Method != http.MethodGet, "phase 2 wrote to GitHub: %s", c)
	}
	require.Empty(w.t, w.hub.Events())
}

// inside is the repository as it is, whatever happens to requests.
func (w *world) inside() *oci.Repository {
	r, err := oci.NewRepository(w.registry.address(), oci.RegistryOptions{Transport: ocitest.Within{Handler: w.tags}})
	require.NoError(w.t, err)
	return r
}

// now are the tags as they are.
func (w *world) now() tagMap {
	m, r := tagMap{}, w.inside()
	all, err := r.Tags(w.t.Context())
	require.NoError(w.t, err)
	for _, tag := range all {
		d, err := r.Digest(w.t.Context(), tag)
		require.NoError(w.t, err)
		m[tag] = d.String()
	}
	return m
}

// verify compares the images that were published with their releases.
func (w *world) verify(want tagMap) {
	for _, seed := range w.releases {
		tag := strings.TrimPrefix(seed.Tag, "v")
		if want[tag] == "" || want[tag] == w.before.Digest.String() {
			continue
		}
		r, err := published.Load(w.t.Context(), loaded(seed.Files))
		require.NoError(w.t, err)
		verified, err := oci.VerifyImage(w.t.Context(), r.Manifest, w.inside(), oci.VerifyOptions{SBOMs: true, By: w.signer.Author.Verifier(), ManifestSHA256: r.ManifestSHA256})
		require.NoError(w.t, err)
		require.Empty(w.t, verified.Findings)
	}
}

// tagLog is a registry that keeps a log of its tags.
type tagLog struct {
	http.Handler
	mu       sync.Mutex
	writes   []tagWrite
	versions map[string]*semver.Version
	tested   map[string]bool
	// unsigned is the only image without a signature.
	unsigned string
	// overlaps is true if two runs write at the same time. This registry has no
	// conditional requests, so one may overwrite what the other has just listed: both
	// make sure that their own attachments are listed in the end.
	overlaps bool
}

// tagWrite is a tag that was written, or deleted if it has no digest.
type tagWrite struct {
	tag, digest string
	tested      bool
	text        []byte
}

func (l *tagLog) assembled(digest string, v *semver.Version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.versions[digest] = v
}

func (l *tagLog) passed(digest string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tested[digest] = true
}

// ServeHTTP logs tags in the order in which they take effect.
func (l *tagLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, tag, isManifest := strings.Cut(r.URL.Path, "/manifests/")
	if !isManifest || strings.HasPrefix(tag, "sha256:") || r.Method == http.MethodGet || r.Method == http.MethodHead {
		l.Handler.ServeHTTP(w, r)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	rec := httptest.NewRecorder()
	l.Handler.ServeHTTP(rec, r)
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
	switch {
	case r.Method == http.MethodPut && rec.Code == http.StatusCreated:
		d := "sha256:" + digest(text)
		l.writes = append(l.writes, tagWrite{tag, d, l.tested[d], text})
	case r.Method != http.MethodPut:
		l.writes = append(l.writes, tagWrite{tag: tag})
	}
}

// check makes sure that no tag was ever wrong.
func (l *tagLog) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	now, lists, signed, ever := tagMap{}, map[string][]string{}, map[string]bool{}, map[string][]string{}
	for i, w := range l.writes {
		at := fmt.Sprintf("write %d, of tag %s", i+1, w.tag)
		require.NotEmpty(t, w.digest, "%s: it was deleted", at)
		if hex, isList := strings.CutPrefix(w.tag, "sha256-"); isList {
			// Signatures come before the tags, and the rest is attached to an image of a
			// platform, which is complete by then.
			list := entries(t, w.text)
			require.True(t, signatures(t, w.text) == len(list) || slices.ContainsFunc(slices.Collect(maps.Values(now)), func(index string) bool {
				return slices.Contains(l.images(t, index), "sha256:"+hex)
			}), "%s: something is attached to what has no tag", at)
			signed["sha256:"+hex] = signed["sha256:"+hex] || signatures(t, w.text) >= 2
			if !l.overlaps {
				require.Subset(t, list, lists[w.tag], "%s: an attachment got lost", at)
			}
			lists[w.tag], ever[w.tag] = list, append(ever[w.tag], list...)
			continue
		}
		require.True(t, w.tested, "%s: the image was not tested", at)
		require.True(t, w.digest == l.unsigned || signed[w.digest], "%s: the image was not signed", at)
		is, was := l.versions[w.digest], now[w.tag]
		require.NotNil(t, is, "%s: an image that nobody assembled", at)
		if _, err := version.Parse(w.tag); err == nil {
			require.Equal(t, is.String(), w.tag, at)
			require.True(t, was == "" || was == w.digest, "%s: it was rewritten", at)
		} else {
			require.Equal(t, w.digest, now[is.String()], "%s: before the exact one", at)
			require.False(t, was != "" && is.LessThan(l.versions[was]), "%s: from %s to %s", at, l.versions[was], is)
		}
		now[w.tag] = w.digest
	}
	for tag, all := range ever {
		require.Subset(t, lists[tag], all, "tag %s: an attachment got lost", tag)
	}
}

// images are those of an index.
func (l *tagLog) images(t *testing.T, index string) []string {
	t.Helper()
	rec := httptest.NewRecorder()
	l.Handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/v2/"+slug+"/manifests/"+index, nil))
	require.Equal(t, http.StatusOK, rec.Code, index)
	return entries(t, rec.Body.Bytes())
}

// signatures counts the bundles in a list.
func signatures(t *testing.T, list []byte) (n int) {
	t.Helper()
	im, err := v1.ParseIndexManifest(bytes.NewReader(list))
	require.NoError(t, err)
	for _, d := range im.Manifests {
		if d.ArtifactType == attest.BundleType {
			n++
		}
	}
	return n
}

// entries are the digests in an index.
func entries(t *testing.T, index []byte) []string {
	t.Helper()
	all, err := ocitest.Digests(index)
	require.NoError(t, err)
	return all
}

// peer serves a registry, of which requests may be spoiled.
type peer struct {
	*httptest.Server
	mu sync.Mutex
	// n and writes count requests since the last set.
	n, writes int
	fault     *fault
	met, down bool
}

// fault spoils the requests that it matches.
type fault struct {
	match func(request) bool
	do    answerer
}

// answerer answers a request; serve is who should.
type answerer func(w http.ResponseWriter, r *http.Request, serve http.Handler)

// request is one, and its number; the one among writes is 0 for a read.
type request struct {
	*http.Request
	n, write int
}

func newPeer(t *testing.T, serve http.Handler) *peer {
	p := &peer{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.n++
		q := request{Request: r, n: p.n}
		if isWrite(r) {
			p.writes++
			q.write = p.writes
		}
		f := p.fault
		spoil := f != nil && f.match(q)
		p.met = p.met || spoil
		p.mu.Unlock()
		if spoil {
			f.do(w, r, serve)
			return
		}
		serve.ServeHTTP(w, r)
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.Start()
	t.Cleanup(p.Close)
	return p
}

func isWrite(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// set replaces the fault, and counts from 1 again.
func (p *peer) set(t *testing.T, f *fault) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.True(t, p.fault == nil || p.met, "no request met the fault")
	p.fault, p.met, p.down, p.n, p.writes = f, false, false, 0, 0
}

func (p *peer) wrote() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}

// goDown ends all connections and refuses new ones, until the next set.
func (p *peer) goDown() {
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	p.CloseClientConnections()
}

func (p *peer) address() string { return strings.TrimPrefix(p.URL, "http://") + "/" + slug }

// transport finds the peer behind every address. Nobody listens at port 1.
func (p *peer) transport() http.RoundTripper {
	return plain{&http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		p.mu.Lock()
		address := p.Listener.Addr().String()
		if p.down {
			address = "127.0.0.1:1"
		}
		p.mu.Unlock()
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}}
}

// plain leaves TLS out: the default base image is not of a registry on this
// machine.
type plain struct{ http.RoundTripper }

func (p plain) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	return p.RoundTripper.RoundTrip(r)
}

// What requests a fault matches.

func once(n int) func(request) bool { return func(q request) bool { return q.n == n } }

func from(n int) func(request) bool { return func(q request) bool { return q.n >= n } }

func every(request) bool { return true }

func writesFrom(k int) func(request) bool { return func(q request) bool { return q.write >= k } }

func of(method, part string) func(request) bool {
	return func(q request) bool { return q.Method == method && strings.Contains(q.URL.Path, part) }
}

// What a fault does.

func answer(code int, body string, header ...string) answerer {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// cut does what is asked, and resets the connection in the middle of the answer.
func cut(w http.ResponseWriter, r *http.Request, serve http.Handler) {
	res, body := served(r, serve)
	var text bytes.Buffer
	_ = res.Write(&text)
	half := text.Len() / 2
	if len(body) > 0 {
		half = text.Len() - len(body)/2 - 1
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = conn.Write(text.Bytes()[:half])
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// flip turns one bit of the answer.
func flip(w http.ResponseWriter, r *http.Request, serve http.Handler) {
	res, body := served(r, serve)
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	if len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	_, _ = w.Write(body)
}

func served(r *http.Request, serve http.Handler) (*http.Response, []byte) {
	rec := httptest.NewRecorder()
	serve.ServeHTTP(rec, r)
	res, body := rec.Result(), rec.Body.Bytes()
	res.Request, res.ContentLength = r, int64(len(body))
	if r.Method == http.MethodHead {
		body = nil
	}
	return res, body
}

// late answers after a while.
func late(d time.Duration) answerer {
	return func(w http.ResponseWriter, r *http.Request, serve http.Handler) {
		time.Sleep(d)
		serve.ServeHTTP(w, r)
	}
}

// drip sends an answer in pieces, so that something moves all the time.
func drip(w http.ResponseWriter, r *http.Request, serve http.Handler) {
	res, body := served(r, serve)
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	for piece := range slices.Chunk(body, len(body)/4+1) {
		time.Sleep(time.Millisecond)
		_, _ = w.Write(piece)
		w.(http.Flusher).Flush()
	}
}

// stall never answers.
func stall(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body) // else the server doesn't see that the caller is gone
	<-r.Context().Done()
}

func atRegistry(tries int, match func(request) bool, do answerer) func(*world) {
	return func(w *world) {
		w.tries = tries
		w.registry.set(w.t, &fault{match, do})
	}
}

// registryCells are the faults of a registry at each request of a run.
func registryCells(b *bench) []cell {
	cells := []cell{
		{name: "registry/down", arm: func(w *world) { w.registry.goDown() }, says: "connection refused"},
	}
	tooMany := answer(http.StatusTooManyRequests, "", "Retry-After", "1")
	for n := 1; n <= b.requests; n++ {
		at := fmt.Sprintf("%02d of %d", n, b.requests)
		cells = append(cells,
			cell{name: "registry/500 once/request " + at, arm: atRegistry(1, once(n), answer(500, ""))},
			cell{name: "registry/500 from then on/request " + at, arm: atRegistry(2, from(n), answer(500, "")), says: "500"},
			cell{name: "registry/429/request " + at, arm: atRegistry(3, once(n), tooMany), whole: true},
			cell{name: "registry/reset in the answer/request " + at, arm: atRegistry(1, once(n), cut)},
			cell{name: "registry/reset in the answer, tried again/request " + at, arm: atRegistry(3, once(n), cut), whole: true},
		)
	}
	return cells
}

// diskCells are a registry that has no space left from a write on.
func diskCells(b *bench) []cell {
	var cells []cell
	for _, code := range []int{http.StatusInsufficientStorage, http.StatusInternalServerError} {
		for k := 1; k <= b.writes; k++ {
			cells = append(cells, cell{
				name: fmt.Sprintf("disk full/%d from write %02d of %d", code, k, b.writes),
				arm:  atRegistry(2, writesFrom(k), answer(code, "no space left on device")), says: "no space left on device",
			})
		}
	}
	return cells
}

func authCells() []cell {
	basic := []string{"WWW-Authenticate", `Basic realm="registry"`}
	return []cell{
		{name: "auth/401", arm: atRegistry(3, every, answer(401, "", basic...)), says: "check the credentials"},
		{name: "auth/401 without a challenge", arm: atRegistry(3, every, answer(401, "")), says: "check the credentials"},
		{name: "auth/401 for writes", arm: atRegistry(3, writesFrom(1), answer(401, "", basic...)), says: "check the credentials"},
		{name: "auth/403 for writes", arm: atRegistry(3, writesFrom(1), answer(403, "")), says: "may write to the repository"},
		{name: "auth/403 for manifests", arm: atRegistry(3, of(http.MethodPut, "/manifests/"), answer(403, "")), says: "may write to the repository"},
		{name: "auth/403 for the exact tag", arm: atRegistry(3, of(http.MethodPut, "/manifests/1.1.0"), answer(403, "")), says: "may write to the repository"},
		{name: "auth/403 for latest", arm: atRegistry(3, of(http.MethodPut, "/manifests/latest"), answer(403, "")), says: "may write to the repository"},
	}
}

func slowCells() []cell {
	cells := []cell{
		{name: "slow/every answer late", arm: atRegistry(1, every, late(3*time.Millisecond)), whole: true},
		{name: "slow/every answer in pieces", arm: atRegistry(1, every, drip), whole: true},
		{name: "slow/past the deadline", arm: func(w *world) {
			atRegistry(3, every, late(10*time.Millisecond))(w)
			w.deadline = 100 * time.Millisecond
		}, says: "run it again to resume"},
	}
	for _, q := range [][2]string{
		{http.MethodGet, "/v2/"}, {http.MethodHead, "/blobs/"}, {http.MethodPatch, "/blobs/uploads/"},
		{http.MethodPut, "/manifests/sha256:"}, {http.MethodPut, "/manifests/1.1.0"}, {http.MethodPut, "/manifests/latest"},
	} {
		cells = append(cells, cell{name: "slow/never " + q[0] + " " + q[1], arm: func(w *world) {
			atRegistry(1, of(q[0], q[1]), stall)(w)
			w.timeout = 200 * time.Millisecond
		}, says: "no progress"})
	}
	return cells
}

// baseCells are base images that are not what they should be, or not there.
func baseCells(b *bench) []cell {
	inMemory := func(index v1.ImageIndex) func(*world) {
		return func(w *world) { w.bases = ocitest.Bases{imagespec.StaticBase: index} }
	}
	remotely := func(match func(request) bool, do answerer) func(*world) {
		return func(w *world) {
			w.tries = 2
			w.bases = w.remoteBases(&fault{match, do})
		}
	}
	manifests, blobs := of(http.MethodGet, "/manifests/"), of(http.MethodGet, "/blobs/")
	unknown := answer(404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not known"}]}`)
	cells := []cell{
		{name: "base/missing", arm: func(w *world) { w.bases = ocitest.Bases{} }, says: oci.ErrNotFound.Error()},
		{name: "base/404", arm: remotely(manifests, unknown), says: oci.ErrNotFound.Error()},
		{name: "base/404 of a page", arm: remotely(manifests, answer(404, "<html>")), says: "find base image"},
		{name: "base/a page", arm: remotely(manifests, answer(200, "<html>", "Content-Type", "text/html")), says: "find base image"},
		{name: "base/registry down", arm: func(w *world) {
			w.bases = w.remoteBases(nil)
			w.base.goDown()
		}, says: "connection refused"},
		{name: "base/one platform", arm: inMemory(base(b.t, "today", "linux/amd64")), says: imagespec.ErrBase.Error()},
		{name: "base/other platforms", arm: inMemory(base(b.t, "today", "linux/arm", "windows/amd64")), says: imagespec.ErrBase.Error()},
		{name: "base/platforms exchanged", arm: inMemory(exchanged(b.t)), says: imagespec.ErrBase.Error()},
		{name: "base/corrupted blobs", arm: remotely(blobs, flip), says: "sha256"},
		{name: "base/truncated blobs", arm: remotely(blobs, cut), says: "read base image"},
	}
	for i, l := range layers(b.t, b.bases) {
		cells = append(cells,
			cell{name: fmt.Sprintf("base/corrupted layer/%d", i), arm: remotely(of(http.MethodGet, l), flip), says: "write the OCI layout"},
			cell{name: fmt.Sprintf("base/truncated layer/%d", i), arm: remotely(of(http.MethodGet, l), cut), says: "write the OCI layout"},
		)
	}
	for n := 1; n <= b.reads; n++ {
		at := fmt.Sprintf("/request %02d of %d", n, b.reads)
		cells = append(cells,
			cell{name: "base/500 from then on" + at, arm: remotely(from(n), answer(500, "")), says: "500"},
			cell{name: "base/404 from then on" + at, arm: remotely(from(n), unknown), says: "not known"},
			cell{name: "base/one bit" + at, arm: remotely(once(n), flip)},
			cell{name: "base/reset in the answer" + at, arm: remotely(once(n), cut)},
		)
	}
	return append(cells, movedCells(b)...)
}

// exchanged is a base image whose index has its platforms the wrong way round.
func exchanged(t *testing.T) v1.ImageIndex {
	index := base(t, "today")
	im, err := index.IndexManifest()
	require.NoError(t, err)
	wrong := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, d := range im.Manifests {
		img, err := index.Image(d.Digest)
		require.NoError(t, err)
		wrong = mutate.AppendManifests(wrong, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: im.Manifests[1-i].Platform}})
	}
	return wrong
}

// layers are the paths of an index's layers.
func layers(t *testing.T, index v1.ImageIndex) []string {
	im, err := index.IndexManifest()
	require.NoError(t, err)
	var all []string
	for _, d := range im.Manifests {
		img, err := index.Image(d.Digest)
		require.NoError(t, err)
		m, err := img.Manifest()
		require.NoError(t, err)
		for _, l := range m.Layers {
			all = append(all, "/blobs/"+l.Digest.String())
		}
	}
	return all
}

// movedCells are base images that move on after a run that failed: what it left
// depends on its writes alone. An image that has its exact tag stays what it is;
// one that has none is made anew.
func movedCells(b *bench) []cell {
	var cells []cell
	after := func(w *world) error {
		w.bases = ocitest.Moved{w.older, w.bench.bases}
		return w.phase2("v1.1.0")
	}
	for k := 1; k <= b.writes; k++ {
		cells = append(cells, cell{
			name: fmt.Sprintf("base/moved after 500 from then on/write %02d of %d", k, b.writes),
			arm:  atRegistry(1, writesFrom(k), answer(500, "")), says: "500", again: after,
			want: func(w *world) tagMap {
				if w.now()["1.1.0"] == "" {
					return b.onOlder
				}
				return b.want
			},
		})
	}
	for n := 1; n <= b.idle; n++ {
		cells = append(cells, cell{
			name:  fmt.Sprintf("base/moved, published, and 500/request %02d of %d", n, b.idle),
			setup: func(w *world) error { return w.phase2("v1.1.0") },
			arm:   atRegistry(1, once(n), answer(500, "")), first: after,
		})
	}
	return cells
}

func smokeCells() []cell {
	fails := func(w *world) {
		w.smoke = func(context.Context) error { return errors.New("it says 1.0.0") }
	}
	down := func(w *world) {
		w.smoke = func(context.Context) error {
			w.registry.goDown()
			return nil
		}
	}
	return []cell{
		{name: "smoke/fails", arm: fails, says: oci.ErrSmoke.Error()},
		{name: "smoke/fails, of the first image", empty: true, arm: fails, says: oci.ErrSmoke.Error(), want: only("1.1.0", "1.1", "1", "latest")},
		{name: "smoke/fails, of a prerelease", arm: fails, says: oci.ErrSmoke.Error(), first: runs("v1.2.0-rc.1"), want: prerelease},
		{name: "smoke/fails once it has its exact tag", setup: func(w *world) error {
			atRegistry(1, of(http.MethodPut, "/manifests/latest"), answer(500, ""))(w)
			if err := w.phase2("v1.1.0"); err == nil {
				return errors.New("it should have failed")
			}
			w.heal()
			return nil
		}, arm: fails, says: oci.ErrSmoke.Error()},
		{name: "smoke/never ends", arm: func(w *world) {
			w.deadline = 100 * time.Millisecond
			w.smoke = func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			}
		}, says: "run it again to resume"},
		{name: "smoke/the registry goes down", arm: down, says: "connection refused"},
	}
}

// hubCells are the faults of GitHub at each request of a run, and those of each
// asset.
func hubCells(b *bench) []cell {
	arm := func(f fakehub.Fault) func(*world) {
		return func(w *world) {
			w.hubFaults = true
			w.hub.Arm(f)
		}
	}
	kinds := []fakehub.FaultKind{fakehub.ServerError, fakehub.Page, fakehub.Reset}
	var cells []cell
	for _, kind := range kinds {
		for n := 1; n <= b.calls; n++ {
			at := fmt.Sprintf("/request %02d of %d", n, b.calls)
			cells = append(cells,
				cell{name: "github/" + string(kind) + " once" + at, arm: arm(fakehub.Fault{Kind: kind, N: n}), whole: true},
				cell{name: "github/" + string(kind) + " from then on" + at, arm: arm(fakehub.Fault{Kind: kind, N: n, Times: -1}), says: "gave up after"},
			)
		}
	}
	for _, kind := range append(kinds, fakehub.NotFound, fakehub.Denied) {
		for _, f := range b.releases[1].Files {
			match := func(c fakehub.Call) bool { return c.Op == "get object" && strings.HasSuffix(c.Path, "/"+f.Name) }
			cells = append(cells, cell{name: "github/asset " + f.Name + "/" + string(kind), arm: arm(fakehub.Fault{Kind: kind, Match: match}), says: f.Name})
		}
	}
	return cells
}

// runs of phase 2, one after the other.
func runs(tags ...string) func(*world) error {
	return func(w *world) error {
		var errs []error
		for _, tag := range tags {
			errs = append(errs, w.phase2(tag))
		}
		return errors.Join(errs...)
	}
}

// atOnce are runs of phase 2 at the same moment.
func atOnce(tags ...string) func(*world) error {
	return func(w *world) error {
		w.jobs = 4
		errs := make([]error, len(tags))
		start, wg := make(chan struct{}), sync.WaitGroup{}
		for i, tag := range tags {
			wg.Go(func() {
				<-start
				errs[i] = w.phase2(tag)
			})
		}
		close(start)
		wg.Wait()
		return errors.Join(errs...)
	}
}

// only are the tags of 1.1.0 alone.
func only(tags ...string) func(*world) tagMap {
	return func(w *world) tagMap {
		m := tagMap{}
		for _, tag := range tags {
			m[tag] = w.want["1.1.0"]
		}
		return m
	}
}

// inOrder are the tags after both releases were published, in their order.
func inOrder(w *world) tagMap { return w.ordered }

// prerelease are those of 1.0.0, where they were, and of the prerelease.
func prerelease(w *world) tagMap { return w.candidate }

func eventCells(b *bench) []cell {
	var cells []cell
	for _, source := range sources {
		cells = append(cells, cell{name: "event/replayed/" + string(source), whole: true, first: func(w *world) error {
			w.source = source
			if err := w.phase2("v1.1.0"); err != nil {
				return err
			}
			w.registry.set(w.t, nil)
			err := w.phase2("v1.1.0")
			assert.Zero(w.t, w.registry.wrote(), "the replay wrote something")
			return err
		}})
	}
	cells = append(cells, cell{name: "event/of every kind for one release", whole: true, first: func(w *world) error {
		var errs []error
		for _, w.source = range sources {
			errs = append(errs, w.phase2("v1.1.0"))
		}
		return errors.Join(errs...)
	}})

	for i := range 6 {
		cells = append(cells,
			cell{name: fmt.Sprintf("event/duplicated at the same moment/%d", i), whole: true, overlaps: true, first: atOnce("v1.1.0", "v1.1.0")},
			cell{name: fmt.Sprintf("event/duplicated at the same moment, of the first image/%d", i), empty: true, whole: true, overlaps: true,
				first: atOnce("v1.1.0", "v1.1.0"), want: only("1.1.0", "1.1", "1", "latest")},
			cell{name: fmt.Sprintf("event/duplicated, and one finds it broken/%d", i), overlaps: true, first: atOnce("v1.1.0", "v1.1.0"), arm: func(w *world) {
				var tests atomic.Int32
				w.smoke = func(context.Context) error {
					if tests.Add(1) == 1 {
						return errors.New("it says 1.0.0")
					}
					return nil
				}
			}, says: oci.ErrSmoke.Error()},
			cell{name: fmt.Sprintf("event/out of order, at the same moment/%d", i), empty: true, whole: true, overlaps: true, first: atOnce("v1.1.0", "v1.0.0"), want: inOrder},
		)
	}
	for n := 1; n <= b.requests; n++ {
		cells = append(cells, cell{name: fmt.Sprintf("event/duplicated at request %02d of %d", n, b.requests), whole: true, overlaps: true, arm: func(w *world) {
			atRegistry(3, once(n), func(rw http.ResponseWriter, r *http.Request, serve http.Handler) {
				assert.NoError(w.t, w.phase2("v1.1.0"), "the run in between")
				serve.ServeHTTP(rw, r)
			})(w)
		}})
	}

	for _, source := range sources {
		cells = append(cells, cell{name: "event/out of order/" + string(source), empty: true, whole: true, want: inOrder, first: func(w *world) error {
			w.source = source
			return runs("v1.1.0", "v1.0.0")(w)
		}})
	}
	for k := 1; k <= b.late; k++ {
		cells = append(cells, cell{
			name: fmt.Sprintf("event/out of order, and 500 from then on/write %02d of %d", k, b.late), empty: true, want: inOrder,
			setup: runs("v1.1.0"), first: runs("v1.0.0"), arm: atRegistry(2, writesFrom(k), answer(500, "")), says: "500",
		})
	}
	for _, source := range sources {
		cells = append(cells, cell{name: "event/prerelease/" + string(source), whole: true, want: prerelease, first: func(w *world) error {
			w.source = source
			return w.phase2("v1.2.0-rc.1")
		}})
	}
	cells = append(cells, cell{name: "event/prerelease before the stable one", whole: true, first: runs("v1.2.0-rc.1", "v1.1.0"), want: func(w *world) tagMap {
		m := maps.Clone(w.want)
		m["rc"], m["1.2.0-rc.1"] = w.candidate["rc"], w.candidate["rc"]
		return m
	}})

	// What is refused, or comes too early, has no effect at all.
	for _, c := range []struct{ name, text, says string }{
		{"a draft", `{"action": "published", "release": {"id": 1, "tag_name": "v1.1.0", "draft": true}, "repository": {"full_name": "acme/server"}}`, "is a draft"},
		{"deleted", `{"action": "deleted", "release": {"id": 1, "tag_name": "v1.1.0", "draft": false}, "repository": {"full_name": "acme/server"}}`, `"deleted"`},
		{"of a foreign one", `{"action": "published", "release": {"id": 1, "tag_name": "v1.1.0", "draft": false}, "repository": {"full_name": "someone/else"}}`, "someone/else"},
		{"before its release", `{"workflow": "images.yml", "inputs": {"tag": "v1.3.0"}, "repository": {"full_name": "acme/server"}}`, "is not complete: it is not published"},
		{"of another manifest", strings.Replace(b.dispatched("v1.1.0"), b.payloads["v1.1.0"].ManifestSHA256, strings.Repeat("0", 64), 1), "digest"},
		{"cut off", `{"action": "published", "release": {`, event.ErrFormat.Error()},
	} {
		cells = append(cells, cell{name: "event/" + c.name, says: c.says, first: func(w *world) error {
			err := w.phase2Of(event.Parse([]byte(c.text), slug))
			assert.Zero(w.t, w.registry.n, "the registry was asked")
			return err
		}, again: runs("v1.1.0")})
	}
	return cells
}

// bytesEntry returns an entry with the given content.
func bytesEntry(path string, mode fs.FileMode, content []byte) archive.Entry {
	return archive.Entry{Path: path, Mode: mode, Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}
