package contract

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/event"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/target"
	"dagger/gantry/ci/version"
)

// The secrets of the simulation: neither may be seen anywhere.
const (
	soakToken    = "ghp_CANARY0123456789abcdefghijklmnop"
	soakPassword = "CANARY-of-the-registry"
)

const (
	soakOwner, soakRepo = "acme", "app"
	soakHost            = "registry.example.com"
)

// soak is a simulated project: a repository on a fake GitHub, a registry, and all
// that was released so far. Everything in it follows from the seed.
type soak struct {
	seed uint64
	rand *rand.Rand
	dir  string

	hub      *fakehub.Local
	repo     *fakehub.Repo
	registry *soakRegistry
	signer   attest.Signer // without an author, images are not signed
	bases    ocitest.Moved
	settings soakSettings

	components []*soakComponent
	releases   []*soakRelease

	step   int
	alone  bool   // the step has one run
	armed  bool   // GitHub has faults in the step
	loose  bool   // a run that failed beside another may have left Latest anywhere
	latest string // as the last call of a run found it
	mu     sync.Mutex
	order  []string          // of the calls of the step, by run
	nth    map[string]int    // of equal calls in a step
	made   map[string]string // digests of images, by tag and base images
	log    []string
	broken []string
	counts soakCounts
}

// soakSettings are what a seed draws once.
type soakSettings struct {
	lag                  time.Duration // of GitHub's lists
	noDigests, immutable bool
	limits, http2, tls   bool
	referrers, login     bool
}

// soakCounts is what a simulation did.
type soakCounts struct {
	steps, runs, releases, images, faults, kills int
	orders                                       map[uint64]bool // of calls of steps with several runs
}

// soakComponent is a component of the workspace.
type soakComponent struct {
	name, prefix string
	owner        bool // of GitHub's Latest
	project      *plan.Project
	// settled has the version to which a floating tag was moved last by a run that
	// succeeded.
	settled map[string]*semver.Version
}

func (c *soakComponent) repository() string { return "acme/" + c.name }

func (c *soakComponent) address() string { return soakHost + "/" + c.repository() }

// soakRelease is a release that was begun.
type soakRelease struct {
	*soakDist
	component *soakComponent
	version   *semver.Version
	tag       string
	spec      github.Spec
	block     string // in the state of GitHub, since it is published
	done      bool   // a run succeeded
	disturbed bool   // a run failed, or making a draft did
	digest    string // of its image, since it is published
	lacking   bool   // a run failed since, so that something may not be attached
}

// soakDist has the files of a release as phase 1 packs them.
type soakDist struct {
	plan     *plan.Plan
	manifest *manifest.Manifest
	assets   []github.Asset
	files    map[string][]byte
}

// soakDists has those that were packed: packing is the slowest part of a
// simulation, and gives the same bytes each time.
var soakDists struct {
	sync.Mutex
	made map[string]*soakDist
}

// newSoak draws a project. It must run in a bubble of synctest.
func newSoak(seed uint64, dir string) (*soak, error) {
	s := &soak{seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), dir: dir, made: map[string]string{}, counts: soakCounts{orders: map[uint64]bool{}}}
	s.settings = soakSettings{
		lag: pick(s.rand, 0, 0, 300*time.Millisecond, 5*time.Second), noDigests: s.chance(4), immutable: s.chance(4), limits: s.chance(4),
		http2: s.chance(3), tls: s.chance(8), referrers: s.chance(2), login: s.chance(2),
	}
	config := fakehub.Config{
		Tokens: map[string]fakehub.Access{soakToken: {User: "octocat", Push: true, Scopes: "repo"}}, ListDelay: s.settings.lag, NoDigests: s.settings.noDigests,
	}
	if s.settings.limits {
		config.Limits = fakehub.Documented
	}
	s.hub = fakehub.Start(fakehub.New(config))
	s.repo = s.hub.AddRepo(soakOwner, soakRepo)
	s.repo.Main(s.repo.Commit("main"))
	if s.settings.immutable {
		s.repo.Immutable()
	}
	s.registry = newSoakRegistry(s)
	if s.chance(2) {
		if err := s.makeKey(); err != nil {
			return nil, err
		}
	}
	for _, day := range []string{"today", "tomorrow"} {
		index, err := soakBase(day)
		if err != nil {
			return nil, err
		}
		s.bases = append(s.bases, index)
	}
	names := []string{"app", "app-cli", "tool"}[:1+s.rand.IntN(3)]
	for i, name := range names {
		c := &soakComponent{name: name, prefix: name + "-", owner: i == 0, settled: map[string]*semver.Version{}}
		if c.owner {
			c.prefix = "v"
		}
		s.components = append(s.components, c)
	}
	s.note("seed %d: %d components, %+v, signed: %t", seed, len(names), s.settings, s.signer.Author != nil)
	return s, nil
}

func (s *soak) close() {
	s.hub.Close()
	s.registry.close()
}

// makeKey makes a key of the seed, whose signatures are the same each time.
func (s *soak) makeKey() error {
	seed := sha256.Sum256(fmt.Append(nil, s.seed))
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		return err
	}
	key, err := attest.ReadKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	if err != nil {
		return err
	}
	s.signer.Author = key
	if s.seed%2 == 1 {
		s.signer.Author = &varied{Key: key}
	}
	return nil
}

// varied signs like somebody without a key: each bundle has other bytes, of the same
// number, and verifies.
type varied struct {
	*attest.Key
	made atomic.Uint32
}

func (v *varied) Repeats() bool { return false }

func (v *varied) SignFile(ctx context.Context, content []byte) ([]byte, error) {
	bundle, err := v.Key.SignFile(ctx, content)
	return v.vary(bundle), err
}

func (v *varied) SignStatement(ctx context.Context, statement any) ([]byte, error) {
	bundle, err := v.Key.SignStatement(ctx, statement)
	return v.vary(bundle), err
}

// vary appends white space that counts.
func (v *varied) vary(bundle []byte) []byte {
	for bit, n := 0, v.made.Add(1); bit < 32; bit++ {
		bundle = append(bundle, " \t"[n>>bit&1])
	}
	return bundle
}

// chance is true once in n times.
func (s *soak) chance(n int) bool { return s.rand.IntN(n) == 0 }

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

func (s *soak) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// breaks reports that something that must always hold does not.
func (s *soak) breaks(invariant, format string, args ...any) {
	text := fmt.Sprintf("%s: %s", invariant, fmt.Sprintf(format, args...))
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.broken, text) {
		s.broken = append(s.broken, text)
		s.log = append(s.log, "BROKEN: "+text)
	}
}

// wait is how long a call takes: the same for the same call in each play of the
// seed, whatever the order in which the machine gets to run them.
func (s *soak) wait(ctx context.Context, by, call string) error {
	s.mu.Lock()
	key := by + " " + call
	n := s.nth[key] // of those that are over: equal calls at the same time wait for the same time
	s.mu.Unlock()
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s %d", s.seed, s.step, key, n)
	x := h.Sum64()
	x = (x ^ x>>32) * 0x9e3779b97f4a7c15
	x ^= x >> 29
	// From a whole millisecond on, so that the nanoseconds by which libraries spread
	// their pauses don't add up.
	now := time.Now()
	until := now.Truncate(time.Millisecond).Add(time.Duration(1+x%400)*time.Millisecond + time.Duration(x/400%1000)*time.Microsecond)
	t := time.NewTimer(until.Sub(now))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.mu.Lock()
	s.nth[key]++
	s.order = append(s.order, key)
	s.mu.Unlock()
	return nil
}

// soakBase is a base image of today, or of tomorrow.
func soakBase(content string) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		p := v1.Platform{OS: "linux", Architecture: arch}
		config := &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, RootFS: v1.RootFS{Type: "layers"}}
		image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), config)
		if err != nil {
			return nil, err
		}
		layer := static.NewLayer([]byte(content+arch), types.OCIUncompressedLayer)
		if image, err = mutate.AppendLayers(mutate.ConfigMediaType(image, types.OCIConfigJSON), layer); err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &p}})
	}
	return index, nil
}

// source is the workspace at a commit at which a component has a version.
func (s *soak) source(c *soakComponent, number, commit string) *project {
	p := &project{
		workspace: table{"targets": []string{"aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl"}},
		files:     []string{"Cargo.toml", "Cargo.lock", "LICENSE"},
		git:       plan.Git{Present: true, Commit: commit, Time: time.Unix(1700000000, 0)},
		tag:       c.prefix + number,
	}
	for _, other := range s.components {
		config := table{"image": table{"repositories": []string{other.address()}}}
		if config["tag-prefix"] = other.prefix; other.owner {
			config["latest"] = true
		}
		n := "0.0.1"
		if other == c {
			n = number
		}
		p.packages = append(p.packages, crate(other.name, n, other.name, config, other.name))
		p.files = append(p.files, other.name+"/Cargo.toml", other.name+"/src/main.rs")
	}
	for _, r := range s.releases {
		tag := version.GitTag{Name: r.tag, Commit: r.spec.Commit}
		p.git.Tags, p.git.Reachable = append(p.git.Tags, tag), append(p.git.Reachable, tag)
	}
	return p
}

// begin plans and packs a release, and makes its tag.
func (s *soak) begin(ctx context.Context, c *soakComponent, v *semver.Version) (*soakRelease, error) {
	number := v.String()
	tag := c.prefix + number
	commit := s.repo.Commit(tag)
	source := s.source(c, number, commit)
	d, err := s.pack(ctx, source, commit)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", tag, err)
	}
	if c.project, err = source.load(); err != nil {
		return nil, err
	}
	r := &soakRelease{soakDist: d, component: c, version: v, tag: tag}
	if r.spec, err = s.spec(c, d); err != nil {
		return nil, err
	}
	switch s.rand.IntN(3) {
	case 0:
		s.repo.Tag(tag, commit)
	case 1:
		s.repo.AnnotatedTag(tag, commit)
	}
	s.releases = append(s.releases, r)
	return r, nil
}

// pack packs a release, unless another simulation did.
func (s *soak) pack(ctx context.Context, source *project, commit string) (*soakDist, error) {
	key := fmt.Sprint(len(s.components), source.tag, commit)
	for _, t := range source.git.Tags {
		key += " " + t.Name
	}
	soakDists.Lock()
	d := soakDists.made[key]
	soakDists.Unlock()
	if d != nil {
		return d, nil
	}
	p, err := source.plan()
	if err != nil {
		return nil, err
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.dir, "dist-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := func(t target.Target, bin string) []byte { return program(t, false, bin+" of "+p.Tag+" at "+commit) }
	merged, m, err := pack(ctx, dir, p, made, func(string) {})
	if err != nil {
		return nil, err
	}
	if d, err = readSoakDist(merged, p, m); err != nil {
		return nil, err
	}
	soakDists.Lock()
	defer soakDists.Unlock()
	if soakDists.made == nil || len(soakDists.made) > 2000 {
		soakDists.made = map[string]*soakDist{}
	}
	soakDists.made[key] = d
	return d, nil
}

// readSoakDist reads the files of a release, and adds bills of materials, which only
// the crates of real programs give.
func readSoakDist(dir string, p *plan.Plan, m *manifest.Manifest) (*soakDist, error) {
	d := &soakDist{plan: p, manifest: m, files: map[string][]byte{}}
	for _, t := range p.Targets {
		bill := fmt.Appendf(nil, `{"bomFormat":"CycloneDX","of":%q}`, t.Archive)
		d.files[t.SBOM] = bill
		m.Assets = append(m.Assets, manifest.Asset{Name: t.SBOM, Kind: manifest.KindSBOM, Target: t.Target, Size: int64(len(bill)), SHA256: soakDigest(bill)[7:]})
	}
	text, err := m.Marshal()
	if err != nil {
		return nil, err
	}
	d.files[manifest.FileName] = text
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if d.files[e.Name()] != nil || e.Name() == manifest.SumsName {
			continue
		}
		if d.files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	sums := archive.Sums{}
	for name, content := range d.files {
		if err := sums.Add(name, soakDigest(content)[7:]); err != nil {
			return nil, err
		}
	}
	if d.files[manifest.SumsName], err = sums.Format(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		d.assets = append(d.assets, soakAsset(name, d.files[name]))
	}
	return d, nil
}

func soakAsset(name string, content []byte) github.Asset {
	return github.Asset{
		Name: name, Size: int64(len(content)), SHA256: soakDigest(content)[7:],
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// spec is what phase 1 asks GitHub for, as ci/release makes it of a plan.
func (s *soak) spec(c *soakComponent, d *soakDist) (github.Spec, error) {
	p := d.plan
	spec := github.Spec{
		Owner: soakOwner, Repo: soakRepo, Tag: p.Tag, Commit: p.Commit, Title: p.Title(), Notes: "What changed in " + p.Tag + ".",
		Changelog: manifest.ChangelogName, Prerelease: p.Channel != "stable", OwnsLatest: p.OwnsLatest, Assets: d.assets,
		VersionOf: func(tag string) (*semver.Version, bool) {
			t, err := c.project.Scheme.Parse(tag)
			if err != nil || t.Component != p.Component {
				return nil, false
			}
			return t.Version, true
		},
	}
	if p.OwnsLatest != c.owner {
		return spec, fmt.Errorf("plan of %s: owns Latest: %t", p.Tag, p.OwnsLatest)
	}
	i := slices.IndexFunc(d.assets, func(a github.Asset) bool { return a.Name == manifest.FileName })
	if i < 0 {
		return spec, errors.New("the release has no manifest")
	}
	payload, err := event.NewPayload(soakOwner+"/"+soakRepo, d.manifest, d.assets[i].SHA256)
	spec.Dispatch = &github.Dispatch{EventType: event.EventType, Payload: payload}
	return spec, err
}

// event is the file of an event of a kind about the release; nil for a bare tag.
func (r *soakRelease) event(source event.Source) ([]byte, error) {
	e := map[string]any{"repository": map[string]any{"full_name": soakOwner + "/" + soakRepo}}
	switch source {
	case event.SourceDispatch:
		e["action"], e["client_payload"] = event.EventType, r.spec.Dispatch.Payload
	case event.SourceRelease:
		e["action"], e["release"] = "published", map[string]any{"id": 1, "tag_name": r.tag, "draft": false}
	case event.SourceWorkflow:
		e["workflow"], e["inputs"], e["ref"] = "images.yml", map[string]string{"tag": r.tag}, "refs/heads/main"
	default:
		return nil, nil
	}
	return json.Marshal(e)
}

// published reports whether GitHub has the release, and not as a draft.
func (r *soakRelease) published() bool { return r.block != "" }

// inHub carries the calls of one run to GitHub, each after a while.
type inHub struct {
	run  *soakRun
	next http.RoundTripper
}

// RoundTrip also ends the run at its call, and looks at what the call changed.
func (h inHub) RoundTrip(req *http.Request) (*http.Response, error) {
	r := h.run
	if r.image && req.Method != http.MethodGet && req.Method != http.MethodHead {
		r.breaks("Isolation", "phase 2 wrote to GitHub: %s %s", req.Method, req.URL.Path)
	}
	if req.Method != http.MethodGet && !strings.HasSuffix(req.URL.Path, "/dispatches") {
		r.wrote.Add(1)
	}
	if err := r.wait(req.Context(), r.name, req.Method+" "+req.URL.RequestURI()); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	before, after := r.call()
	if before {
		r.cancel(errKilled)
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, errKilled
	}
	res, err := h.next.RoundTrip(req)
	if req.Method != http.MethodGet { // the answer to one may still be on its way, with GitHub locked
		r.looksAtLatest()
	}
	if after {
		if err == nil {
			_ = res.Body.Close()
		}
		r.cancel(errKilled)
		return nil, errKilled
	}
	return res, err
}

var errKilled = errors.New("the run was killed")
