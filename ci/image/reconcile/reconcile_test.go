package reconcile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/version"
)

const (
	slug    = "acme/server"
	host    = "registry.example"
	address = host + "/acme/server"
	commit  = "0123456789abcdef0123456789abcdef01234567"
)

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// ship makes a release as the first phase leaves it, for two platforms.
func ship(t testing.TB, component, tag, number string, image *manifest.Image) fakehub.Seed {
	return shipWith(t, component, tag, number, image, false)
}

// shipWith makes a release with or without bills of materials.
func shipWith(t testing.TB, component, tag, number string, image *manifest.Image, bills bool) fakehub.Seed {
	v, err := version.Parse(number)
	require.NoError(t, err)
	date := time.Date(2026, 4, 14, 9, 30, 0, 0, time.UTC)
	m := manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Component: component, Tag: tag, Version: number, Channel: version.Channel(v),
		Commit: commit, CommitDate: date.Format(time.RFC3339), Repository: "https://github.com/" + slug,
		Toolchain: manifest.Toolchain{Rustc: "rustc 1.96.0", Cargo: "cargo 1.96.0"}, Image: image,
	}
	seed := fakehub.Seed{Tag: tag, Commit: commit, Prerelease: v.Prerelease() != ""}
	sums := archive.Sums{}
	add := func(name string, content []byte) {
		require.NoError(t, sums.Add(name, digest(content)))
		seed.Files = append(seed.Files, fakehub.File{Name: name, Data: content})
	}
	for _, arch := range []string{"aarch64", "x86_64"} {
		root := component + "-" + number + "-" + arch + "-unknown-linux-musl"
		program := []byte("\x7fELF" + root)
		var text bytes.Buffer
		require.NoError(t, archive.Write(&text, archive.TarGz, root, date, []archive.Entry{bytesEntry(component, 0o755, program)}))
		add(root+".tar.gz", text.Bytes())
		m.Assets = append(m.Assets, manifest.Asset{
			Name: root + ".tar.gz", Kind: manifest.KindArchive, Target: arch + "-unknown-linux-musl", Size: int64(text.Len()), SHA256: digest(text.Bytes()),
			Binaries: []manifest.Binary{{
				Name: component, Package: component, Path: root + "/" + component, SHA256: digest(program), Size: int64(len(program)),
				Format: "elf", Arch: arch, Linkage: "static",
			}},
		})
		if bill := []byte(`{"of":"` + root + `"}`); bills {
			add(root+".cdx.json", bill)
			m.Assets = append(m.Assets, manifest.Asset{
				Name: root + ".cdx.json", Kind: manifest.KindSBOM, Target: arch + "-unknown-linux-musl", Size: int64(len(bill)), SHA256: digest(bill),
			})
		}
	}
	text, err := m.Marshal()
	require.NoError(t, err)
	add(manifest.FileName, text)
	lines, err := sums.Format()
	require.NoError(t, err)
	seed.Files = append(seed.Files, fakehub.File{Name: manifest.SumsName, Data: lines})
	return seed
}

// world has a GitHub and a registry, which count what they are asked.
type world struct {
	t        *testing.T
	hub      *fakehub.Local
	repo     *fakehub.Repo
	asked    atomic.Int64
	settings registries.Settings
	clock    *fakehub.Clock
	// bare publishes images without attachments.
	bare bool
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, hub: fakehub.Start(fakehub.New(fakehub.Config{})), clock: fakehub.NewClock(time.Now())}
	t.Cleanup(w.hub.Close)
	w.repo = w.hub.AddRepo("acme", "server")
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		store.ServeHTTP(rw, r)
	}))
	t.Cleanup(s.Close)
	w.settings = registries.Settings{
		PlainHTTP: []string{host}, Options: oci.RegistryOptions{Tries: 1, Wait: time.Millisecond, Timeout: 5 * time.Second},
		Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
			if to != host+":80" {
				return nil, fmt.Errorf("no such host: %s", to)
			}
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		},
	}
	return w
}

// bases has an empty image for both platforms.
func bases(t testing.TB) oci.Bases {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"}})
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return ocitest.Bases{imagespec.StaticBase: index}
}

// publish is what the module does, without the smoke test.
func (w *world) publish(ctx context.Context, r *published.Release, _ *registries.Registries, repositories []*oci.Repository) error {
	image, err := oci.Assemble(ctx, r, oci.AssembleOptions{Bases: bases(w.t), Dir: w.t.TempDir()})
	if err != nil {
		return err
	}
	defer image.Close()
	publication := oci.Publication{Version: r.Version(), Manifest: r.Manifest, Index: image.Index, Known: r.Known, Flagged: r.Flagged}
	if !w.bare {
		if publication.Attachments, err = oci.Bills(r); err != nil {
			return err
		}
	}
	_, err = oci.Publish(ctx, publication, repositories...)
	return err
}

// run reconciles, and makes sure that nobody waited and that the requests of the
// report are those that the servers had.
func (w *world) run(change func(*Options)) (*Report, error) {
	w.t.Helper()
	client, err := github.New(github.Options{APIURL: w.hub.URL + "api/v3/", Transport: w.hub.Transport(false, false), Clock: w.clock})
	require.NoError(w.t, err)
	o := Options{Client: client, Repository: slug, Last: 10, Settings: w.settings, Publish: w.publish}
	if change != nil {
		change(&o)
	}
	before, calls, now := w.asked.Load(), len(w.hub.Calls()), w.clock.Now()
	report, err := Run(w.t.Context(), o)
	if report != nil {
		assert.Equal(w.t, int64(len(w.hub.Calls())-calls), report.Checking.GitHub+report.Publishing.GitHub)
		// A host without TLS is asked over TLS first, once for each session.
		assert.InDelta(w.t, w.asked.Load()-before, report.Checking.Registries+report.Publishing.Registries, 6)
	}
	assert.Less(w.t, w.clock.Now().Sub(now), 3*time.Second, "it waited for more than a 404 to be confirmed")
	return report, err
}

func (w *world) tags() []string {
	r, err := registries.New(w.settings)
	require.NoError(w.t, err)
	all, err := r.Repositories([]string{address})
	require.NoError(w.t, err)
	tags, err := all[0].Tags(w.t.Context())
	require.NoError(w.t, err)
	return tags
}

// Forty versions on two platforms, half of them not Gantry's: what is missing is
// found without a wait, with few requests, and published.
func TestFewRequests(t *testing.T) {
	w := newWorld(t)
	image := &manifest.Image{Repositories: []string{address}}
	for i := range 40 {
		number := fmt.Sprintf("1.%d.0", i)
		if i%2 == 0 {
			w.repo.Seed(fakehub.Seed{Tag: "v" + number, Commit: commit, Files: []fakehub.File{{Name: "server.tar.gz", Data: []byte("by hand")}}})
			continue
		}
		w.repo.Seed(ship(t, "server", "v"+number, number, image))
	}
	first, err := w.run(func(o *Options) { o.Last = 100 })
	require.NoError(t, err)
	assert.Equal(t, map[string]int{Skipped: 20, Published: 20}, outcomes(first))

	report, err := w.run(nil)
	require.NoError(t, err)
	t.Log("nothing is missing:\n" + report.Text())
	assert.Equal(t, map[string]int{Skipped: 9, OK: 10}, outcomes(report))
	assert.LessOrEqual(t, report.Checking.Total(), int64(60))
	assert.Zero(t, report.Publishing.Total())
	assert.Contains(t, report.Text(), fmt.Sprintf("requests: %d to find what is missing", report.Checking.Total()))
	assert.Contains(t, report.Text(), "v1.38.0: skipped: it has no release-manifest.json\n")

	// What is lost is found as cheaply, and comes back.
	everything := w.tags()
	for _, tag := range []string{"1.39.0", "latest", "1.31.0", "1.25"} {
		w.drop(tag)
	}
	dry, err := w.run(func(o *Options) { o.DryRun = true })
	require.NoError(t, err)
	assert.Equal(t, map[string]int{Skipped: 9, OK: 7, Would: 3}, outcomes(dry))
	assert.NotEqual(t, everything, w.tags())
	report, err = w.run(nil)
	require.NoError(t, err)
	t.Log("three are missing:\n" + report.Text())
	assert.Equal(t, map[string]int{Skipped: 9, OK: 7, Published: 3}, outcomes(report))
	assert.LessOrEqual(t, report.Checking.Total(), int64(60))
	assert.Positive(t, report.Publishing.GitHub)
	assert.Equal(t, everything, w.tags(), "nothing missing is left")
	again, err := w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]int{Skipped: 9, OK: 10}, outcomes(again))
}

// Bills of materials that the image of the newest release lacks are attached, unless
// they are not to be.
func TestMissingBills(t *testing.T) {
	w := newWorld(t)
	w.repo.Seed(shipWith(t, "server", "v1.0.0", "1.0.0", &manifest.Image{Repositories: []string{address}}, true))
	w.bare = true
	report, err := w.run(func(o *Options) { o.WithoutBills = true })
	require.NoError(t, err)
	assert.Equal(t, map[string]int{Published: 1}, outcomes(report))
	report, err = w.run(func(o *Options) { o.WithoutBills = true })
	require.NoError(t, err)
	assert.Equal(t, map[string]int{OK: 1}, outcomes(report))

	w.bare = false
	why := "registry.example/acme/server: the image of linux/amd64 lacks server-1.0.0-x86_64-unknown-linux-musl.cdx.json"
	report, err = w.run(func(o *Options) { o.DryRun = true })
	require.NoError(t, err)
	assert.Equal(t, "would publish: "+why, line(report, "v1.0.0"))
	tags := w.tags()
	report, err = w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, "published: "+why, line(report, "v1.0.0"))
	assert.Equal(t, tags, w.tags())
	report, err = w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]int{OK: 1}, outcomes(report))
}

func (w *world) drop(tag string) {
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodDelete, "http://"+host+"/v2/acme/server/manifests/"+tag, nil)
	require.NoError(w.t, err)
	res, err := (&http.Client{Transport: &http.Transport{DialContext: w.settings.Dial}}).Do(req)
	require.NoError(w.t, err)
	_ = res.Body.Close()
	require.Equal(w.t, http.StatusAccepted, res.StatusCode)
}

func outcomes(r *Report) map[string]int {
	all := map[string]int{}
	for _, l := range r.Lines {
		all[l.Outcome]++
	}
	return all
}

func line(r *Report, tag string) string {
	for _, l := range r.Lines {
		if l.Tag == tag {
			return l.Outcome + ": " + l.Why
		}
	}
	return ""
}

// The component counts before the last are counted, and costs one request.
func TestComponents(t *testing.T) {
	w := newWorld(t)
	image := &manifest.Image{Repositories: []string{address}}
	for i := range 3 {
		w.repo.Seed(ship(t, "server", fmt.Sprintf("server-1.%d.0", i), fmt.Sprintf("1.%d.0", i), image))
	}
	for i := range 12 {
		w.repo.Seed(ship(t, "cli", fmt.Sprintf("cli-2.%d.0", i), fmt.Sprintf("2.%d.0", i), &manifest.Image{Repositories: []string{host + "/acme/cli"}}))
		w.repo.Seed(ship(t, "lib", fmt.Sprintf("lib-0.%d.0", i), fmt.Sprintf("0.%d.0", i), nil))
	}
	report, err := w.run(func(o *Options) { o.Component, o.Last = "server", 2 })
	require.NoError(t, err)
	assert.Equal(t, map[string]int{Skipped: 24, Published: 2}, outcomes(report))
	assert.Equal(t, `skipped: it is of component "cli"`, line(report, "cli-2.3.0"))
	assert.LessOrEqual(t, report.Checking.GitHub, int64(1+2*4), "one file for each component that is none, and for each candidate")
	assert.Equal(t, []string{"1", "1.1", "1.1.0", "1.2", "1.2.0", "latest"}, w.tags())

	report, err = w.run(func(o *Options) { o.Last, o.DryRun = 3, true })
	require.NoError(t, err)
	assert.Equal(t, map[string]int{Skipped: 3, Would: 3}, outcomes(report))
	assert.Equal(t, `skipped: component "lib" has no image`, line(report, "lib-0.11.0"))
	assert.Contains(t, line(report, "cli-2.11.0"), "would publish: "+host+"/acme/cli: the tag 2.11.0 is missing")
}

// Whoever names the repositories needs no image specification in the manifest.
func TestGivenAddresses(t *testing.T) {
	w := newWorld(t)
	w.repo.Seed(ship(t, "server", "v1.0.0", "1.0.0", nil))
	report, err := w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, `skipped: component "server" has no image`, line(report, "v1.0.0"))
	w.settings.Addresses = []string{host + "/Acme/Server"}
	report, err = w.run(nil)
	require.NoError(t, err)
	assert.Contains(t, line(report, "v1.0.0"), "published: ")
	assert.Contains(t, report.Text(), "note: repository \"registry.example/Acme/Server\" is written")
	report, err = w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, "ok: nothing is missing", line(report, "v1.0.0"))
}

// One release that fails stops none of the others, and is an error in the end.
func TestFailures(t *testing.T) {
	w := newWorld(t)
	image := &manifest.Image{Repositories: []string{address}}
	broken := func(number string, change func(*fakehub.Seed)) {
		seed := ship(t, "server", "v"+number, number, image)
		change(&seed)
		w.repo.Seed(seed)
	}
	broken("1.0.0", func(s *fakehub.Seed) { s.Files = s.Files[1:] })
	broken("1.1.0", func(s *fakehub.Seed) {
		s.Files[2].Data = bytes.Replace(s.Files[2].Data, []byte("acme/server"), []byte("evil/server"), 1)
	})
	broken("1.2.0", func(s *fakehub.Seed) { s.Files[2].Data = []byte("{}") })
	broken("1.3.0", func(s *fakehub.Seed) { s.Tag = "v1.3.1" })
	broken("1.4.0", func(*fakehub.Seed) {})
	w.repo.Seed(ship(t, "server", "v1.5.0", "1.5.0", &manifest.Image{Repositories: []string{"localhost/acme/server"}}))
	w.repo.Seed(ship(t, "server", "v1.6.0", "1.6.0", &manifest.Image{}))
	report, err := w.run(func(o *Options) {
		publish := o.Publish
		o.Publish = func(ctx context.Context, r *published.Release, from *registries.Registries, to []*oci.Repository) error {
			return publish(ctx, r, from, to)
		}
	})
	for tag, says := range map[string]string{
		"v1.0.0": `failed: the release is not complete: assets are missing: "server-1.0.0-aarch64-unknown-linux-musl.tar.gz"`,
		"v1.1.0": `failed: the event is for another repository`,
		"v1.2.0": `failed: `,
		"v1.3.1": `"v1.3.0" is not the event's, "v1.3.1"`,
		"v1.4.0": `published: `,
		"v1.5.0": `failed: open repository "localhost/acme/server": host "localhost" is on this machine`,
		"v1.6.0": `skipped: its image has no repository`,
	} {
		assert.Contains(t, line(report, tag), says, tag)
		if strings.Contains(line(report, tag), "failed") {
			assert.ErrorContains(t, err, fmt.Sprintf("release %q", tag))
		}
	}
	require.NotContains(t, err.Error(), "v1.4.0")

	w.drop("1.4.0")
	report, err = w.run(func(o *Options) {
		o.Publish = func(context.Context, *published.Release, *registries.Registries, []*oci.Repository) error {
			return errors.New("the smoke test failed")
		}
	})
	require.ErrorContains(t, err, "the smoke test failed")
	assert.Contains(t, line(report, "v1.4.0"), "failed: registry.example/acme/server: the tag 1.4.0 is missing: the smoke test failed")

	_, err = w.run(func(o *Options) { o.Last = 0 })
	require.ErrorContains(t, err, "--last=0")
	_, err = w.run(func(o *Options) { o.Repository = "x" })
	require.ErrorContains(t, err, `"x" is not owner/name`)
}

// A release that is flagged as a prerelease lacks no floating tag.
func TestFlagged(t *testing.T) {
	w := newWorld(t)
	image := &manifest.Image{Repositories: []string{address}}
	w.repo.Seed(ship(t, "server", "v1.0.0", "1.0.0", image))
	flagged := ship(t, "server", "v1.1.0", "1.1.0", image)
	flagged.Prerelease = true
	w.repo.Seed(flagged)
	_, err := w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "1.0", "1.0.0", "1.1.0", "latest"}, w.tags())
	report, err := w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]int{OK: 2}, outcomes(report))
}

// What the newest release says of the image is assumed of the others, until
// something seems to be missing: then each has its own say.
func TestImagesThatMoved(t *testing.T) {
	w := newWorld(t)
	no := false
	w.repo.Seed(ship(t, "server", "v1.0.0", "1.0.0", &manifest.Image{Repositories: []string{host + "/old/server"}}))
	w.repo.Seed(ship(t, "server", "v1.1.0", "1.1.0", &manifest.Image{Repositories: []string{address}, Tags: &manifest.ImageTags{Floating: &no, Suffix: "-x"}}))
	w.repo.Seed(ship(t, "server", "v1.2.0", "1.2.0", &manifest.Image{Repositories: []string{address}}))
	_, err := w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "1.1.0-x", "1.2", "1.2.0", "latest"}, w.tags())
	report, err := w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]int{OK: 3}, outcomes(report))
	w.drop("1.1.0-x")
	report, err = w.run(nil)
	require.NoError(t, err)
	assert.Equal(t, "published: registry.example/acme/server: the tag 1.1.0-x is missing", line(report, "v1.1.0"))
	assert.Equal(t, map[string]int{OK: 2, Published: 1}, outcomes(report))
}

// bytesEntry returns an entry with the given content.
func bytesEntry(path string, mode fs.FileMode, content []byte) archive.Entry {
	return archive.Entry{Path: path, Mode: mode, Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}
