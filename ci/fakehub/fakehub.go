// Package fakehub is a fake GitHub: repositories, tags, releases, release assets,
// dispatches and rate limits, held in memory.
//
// It tests the release client against everything that GitHub is documented or
// known to do to its callers: drafts that no tag finds, unfinished assets, lists
// that lag behind, limits, lost answers. A fault can be armed for any call. The
// state can be dumped in a canonical form. A log shows what was written, in which
// order, and whether a release was ever visible before it was complete.
//
// It never talks to the real GitHub, keeps nothing on disk, and its tokens protect
// nothing: it is for tests, rehearsals and demonstrations only.
package fakehub

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config sets how the server behaves. The zero value is a GitHub that is always
// right and consistent, and has no limits.
type Config struct {
	// Now is the clock. By default, time.Now.
	Now func() time.Time
	// Tokens are the accepted tokens. By default, every request comes from a user
	// with push access.
	Tokens map[string]Access
	// Latency is how long a call takes to arrive. By default, no time.
	Latency func(Call) time.Duration
	// ListDelay is how long a change to a release stays out of lists and of the
	// look-up by tag. By default, not at all.
	ListDelay time.Duration
	// Limits are GitHub's limits. By default, there are none.
	Limits Limits
	// NoDigests leaves the digests of assets null, as for assets uploaded before
	// GitHub recorded digests.
	NoDigests bool
	// DuplicateTags lets a second release of a tag be published.
	DuplicateTags bool
	// LargestList is how many releases or assets a page may hold. A larger page
	// fails with a 502, as on GitHub when it takes too long. By default, any.
	LargestList int
	// AttestationDelay is how long after its publication an immutable release has no
	// attestation. By default, it has one at once.
	AttestationDelay time.Duration
	// NoBundles lists attestations without their bundles, which have an address only.
	NoBundles bool
	// LoginPages redirects downloads to a login page, as GitHub Enterprise does in
	// private mode.
	LoginPages bool
	// NoEvents keeps no log of events, each of which lists every asset of its release:
	// for large releases.
	NoEvents bool
}

// Access is what a token may do.
type Access struct {
	// User is the login that the token belongs to.
	User string
	// Push allows writing to repositories.
	Push bool
	// Scopes is sent as X-OAuth-Scopes, as for classic tokens, if it isn't empty.
	Scopes string
	// NoScopes sends an empty X-OAuth-Scopes, as for a classic token without scopes.
	NoScopes bool
	// ReadOnly marks a token that may not write although its user may, such as a
	// fine-grained one: the repository still reports push permission.
	ReadOnly bool
	// Workflows allows changing workflow files. Classic tokens need the scope
	// workflow.
	Workflows bool
	// Installation marks the token of a GitHub App, such as a workflow's: it has no
	// user, and reports no push permission even if it has it.
	Installation bool
}

// Limits are limits of the API. Zero means none.
type Limits struct {
	ContentPerMinute int // requests that create content, 80 on GitHub
	ContentPerHour   int // likewise, 500 on GitHub
	PointsPerMinute  int // a read costs 1, a write 5; 900 on GitHub
	Concurrent       int // requests under way at once, 100 on GitHub
	RequestsPerHour  int // the primary limit, 5,000 for a person
}

// Documented are GitHub's documented limits for a person's token.
var Documented = Limits{
	ContentPerMinute: 80,
	ContentPerHour:   500,
	PointsPerMinute:  900,
	Concurrent:       100,
	RequestsPerHour:  5000,
}

// Server is a fake GitHub. It is an http.Handler: it answers the API at api.<host>
// or /api/v3, uploads at uploads.<host> or /api/uploads, and downloads at any other
// host.
type Server struct {
	cfg Config

	mu        sync.Mutex
	repos     map[string]*Repo
	lastID    int64
	calls     []*Call
	events    []Event
	faults    []*Fault
	active    int
	hits      LimitHits
	spent     map[string]*spending
	commitAge int

	closed    chan struct{}
	closeOnce sync.Once
}

// New returns an empty server.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{
		cfg:    cfg,
		repos:  map[string]*Repo{},
		lastID: 1000,
		spent:  map[string]*spending{},
		closed: make(chan struct{}),
	}
}

// Close releases every call that a fault is holding.
func (s *Server) Close() { s.closeOnce.Do(func() { close(s.closed) }) }

// Repo is a repository.
type Repo struct {
	s *Server

	id          int64
	owner, name string
	private     bool
	archived    bool
	immutable   bool

	commits    map[string]commit
	head       string            // the commit of the default branch
	tags       map[string]string // tag name to the id of a commit or of a tag object
	tagObjects map[string]tagObject
	burned     map[string]bool // tags of deleted immutable releases
	noNewTags  bool            // a ruleset restricts creating tags
	releases   []*release
	latest     int64 // the release marked as latest, 0 if none is
	dispatches []Dispatch
}

type commit struct {
	sha       string
	date      time.Time
	workflows map[string]string // what is in .github/workflows, by name
}

type tagObject struct {
	sha, tag, target string
	targetType       string
	date             time.Time
}

type release struct {
	id         int64
	tag        string
	commitish  string
	name       string
	body       string
	draft      bool
	prerelease bool
	immutable  bool
	declined   bool // make_latest was "false"
	createdAt  time.Time
	published  time.Time
	updatedAt  time.Time
	assets     []*asset
	attested   []Subject // of an immutable release

	deleted  bool
	versions []releaseVersion // for lists that lag
}

// releaseVersion is the state of a release from some time on.
type releaseVersion struct {
	from time.Time
	view release
}

type asset struct {
	id          int64
	name        string
	label       string
	state       string // uploaded or starter
	contentType string
	data        []byte
	size        int64
	digest      string
	downloads   int
	createdAt   time.Time
	updatedAt   time.Time
	rel         *release
}

// Dispatch is an accepted repository_dispatch event.
type Dispatch struct {
	EventType string          `json:"event_type"`
	Payload   json.RawMessage `json:"client_payload,omitempty"`
}

// Call is one request.
type Call struct {
	// N counts from 1.
	N int
	// Method and Path are the request's. The path lacks the base of the API:
	// /repos/o/r/releases.
	Method, Path string
	// Op is the operation: "create release", "upload asset".
	Op string
	// Host is api, uploads or web.
	Host string
	// Write marks calls that change something.
	Write bool
	// Token marks calls with a token.
	Token bool
	// Sent counts the bytes of the body that arrived.
	Sent int64
	// Status is the answer's; 0 if there was none.
	Status int
	// Fault is the fault that the call met, if any.
	Fault FaultKind
}

func (c Call) String() string { return fmt.Sprintf("%d %s %s", c.N, c.Method, c.Path) }

// Event is one change of the state.
type Event struct {
	// Kind is create, edit, publish, delete, upload, starter, delete-asset,
	// latest or dispatch.
	Kind string
	// Release is the release's id, Tag its tag.
	Release int64
	Tag     string
	// Asset is the asset's name, when the event is about one.
	Asset string
	// Draft tells whether the release was a draft then.
	Draft bool
	// Assets lists the release's assets right after, by name: the state of an
	// unfinished asset, or else the digest.
	Assets map[string]string
}

// AddRepo creates an empty repository with one commit, and returns it.
func (s *Server) AddRepo(owner, name string) *Repo {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Repo{
		s: s, id: s.nextID(), owner: owner, name: name,
		commits:    map[string]commit{},
		tags:       map[string]string{},
		tagObjects: map[string]tagObject{},
		burned:     map[string]bool{},
	}
	s.repos[strings.ToLower(owner+"/"+name)] = r
	return r
}

// locked runs f with the lock held.
func (r *Repo) locked(f func()) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	f()
}

// change changes a release by hand, as a person does on the site.
func (r *Repo) change(id int64, f func(*release)) {
	r.locked(func() {
		if rel := r.byID(id); rel != nil {
			f(rel)
			r.s.touch(rel)
		}
	})
}

// Private hides the repository from everyone without a token.
func (r *Repo) Private() *Repo { r.locked(func() { r.private = true }); return r }

// Archived makes the repository read-only.
func (r *Repo) Archived() *Repo { r.locked(func() { r.archived = true }); return r }

// Immutable makes every release that is published from now on immutable.
func (r *Repo) Immutable() *Repo { r.locked(func() { r.immutable = true }); return r }

// Commit adds a commit and returns its id, which follows from the text. Commits are
// a day apart, in the order of their creation.
func (r *Repo) Commit(seed string) string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	sha := fmt.Sprintf("%x", sha1.Sum([]byte("commit "+seed)))
	r.s.commitAge++
	r.commits[sha] = commit{sha: sha, date: time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC).AddDate(0, 0, r.s.commitAge)}
	return sha
}

// Workflows sets the files that a commit has in .github/workflows, by name.
func (r *Repo) Workflows(sha string, files map[string]string) {
	r.locked(func() {
		c := r.commits[sha]
		c.workflows = files
		r.commits[sha] = c
	})
}

// Main moves the default branch to a commit. Before the first call it has no
// commit and no workflow.
func (r *Repo) Main(sha string) { r.locked(func() { r.head = sha }) }

// changesWorkflows reports whether a commit adds or changes a file in
// .github/workflows relative to the default branch.
func (r *Repo) changesWorkflows(sha string) bool {
	main := r.commits[r.head].workflows
	for name, text := range r.commits[sha].workflows {
		if was, ok := main[name]; !ok || was != text {
			return true
		}
	}
	return false
}

// AddCommit adds a commit with the given id.
func (r *Repo) AddCommit(sha string, date time.Time) {
	r.locked(func() { r.commits[sha] = commit{sha: sha, date: date.UTC()} })
}

// Tag makes a lightweight tag.
func (r *Repo) Tag(name, sha string) { r.locked(func() { r.tags[name] = sha }) }

// AnnotatedTag makes a tag object that points to a commit or to another tag
// object, and returns the object's id.
func (r *Repo) AnnotatedTag(name, target string) string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	sha := fmt.Sprintf("%x", sha1.Sum([]byte("tag "+name+target)))
	o := tagObject{sha: sha, tag: name, target: target, targetType: "commit", date: r.s.cfg.Now().UTC()}
	if _, ok := r.tagObjects[target]; ok {
		o.targetType = "tag"
	}
	r.tagObjects[o.sha] = o
	r.tags[name] = o.sha
	return o.sha
}

// File is an asset to add by hand.
type File struct {
	Name string
	Data []byte
	// Starter leaves the asset unfinished, as a failed upload does.
	Starter bool
	// Age makes the asset look older.
	Age time.Duration
}

// Seed is a release to add by hand.
type Seed struct {
	Tag, Commit, Title, Body string
	Draft, Prerelease        bool
	// Latest marks the release as the latest.
	Latest bool
	Files  []File
}

// Seed adds a release and returns its id.
func (r *Repo) Seed(x Seed) int64 {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	now := r.s.cfg.Now().UTC()
	rel := &release{
		id: r.s.nextID(), tag: x.Tag, commitish: x.Commit, name: x.Title, body: x.Body,
		draft: x.Draft, prerelease: x.Prerelease, createdAt: now, updatedAt: now,
	}
	if c, ok := r.commits[x.Commit]; ok {
		rel.createdAt = c.date
	}
	if !x.Draft {
		rel.published = now
		rel.immutable = r.immutable
		if _, ok := r.tags[x.Tag]; !ok && x.Commit != "" {
			r.tags[x.Tag] = x.Commit
		}
		if x.Latest {
			r.latest = rel.id
		} else {
			rel.declined = true
		}
	}
	for _, f := range x.Files {
		r.s.attach(rel, f)
	}
	if rel.immutable {
		r.attest(rel)
	}
	r.releases = append(r.releases, rel)
	rel.versions = append(rel.versions, releaseVersion{view: rel.view()}) // seen in lists from the beginning
	return rel.id
}

// Edit changes the title and text of a release by hand.
func (r *Repo) Edit(id int64, title, body string) {
	r.change(id, func(rel *release) { rel.name, rel.body = title, body })
}

// Flag sets a release's prerelease flag by hand.
func (r *Repo) Flag(id int64, prerelease bool) {
	r.change(id, func(rel *release) { rel.prerelease = prerelease })
}

// Attach adds an asset to a release by hand.
func (r *Repo) Attach(id int64, f File) { r.change(id, func(rel *release) { r.s.attach(rel, f) }) }

// Detach removes an asset from a release by hand.
func (r *Repo) Detach(id int64, name string) {
	r.change(id, func(rel *release) {
		rel.assets = slices.DeleteFunc(rel.assets, func(a *asset) bool { return a.name == name })
	})
}

// Rot flips a bit of an asset's content, but not of the digest that is reported.
func (r *Repo) Rot(id int64, name string) {
	r.locked(func() {
		a := r.byID(id).asset(name)
		a.data = flipped(a.data)
	})
}

// Retag changes a release's tag and texts by hand.
func (r *Repo) Retag(id int64, tag, title, body string) {
	r.change(id, func(rel *release) { rel.tag, rel.name, rel.body = tag, title, body })
}

// Delete deletes a release by hand.
func (r *Repo) Delete(id int64) {
	r.locked(func() {
		r.releases = slices.DeleteFunc(r.releases, func(x *release) bool { return x.id == id })
	})
}

// Untag removes a tag.
func (r *Repo) Untag(name string) { r.locked(func() { delete(r.tags, name) }) }

// Burn marks a tag as that of a deleted immutable release.
func (r *Repo) Burn(tag string) { r.locked(func() { r.burned[tag] = true }) }

// RestrictTags forbids creating tags through a release, as a repository's ruleset
// can.
func (r *Repo) RestrictTags() { r.locked(func() { r.noNewTags = true }) }

// Releases lists the ids of the releases of a tag, drafts included, in the order
// of their creation.
func (r *Repo) Releases(tag string) (ids []int64) {
	r.locked(func() {
		for _, rel := range r.releases {
			if rel.tag == tag && !rel.deleted {
				ids = append(ids, rel.id)
			}
		}
	})
	return ids
}

// Dispatches lists the repository_dispatch events that were accepted.
func (r *Repo) Dispatches() (all []Dispatch) {
	r.locked(func() { all = slices.Clone(r.dispatches) })
	return all
}

// Latest returns the tag of the release that /releases/latest gives, "" if there
// is none.
func (r *Repo) Latest() (tag string) {
	r.locked(func() {
		if rel := r.latestRelease(); rel != nil {
			tag = rel.tag
		}
	})
	return tag
}

// Asset returns the content of an asset of the published release of a tag.
func (r *Repo) Asset(tag, name string) (data []byte, ok bool) {
	r.locked(func() {
		if a := r.publishedByTag(tag).asset(name); a != nil && a.state == "uploaded" {
			data, ok = a.data, true
		}
	})
	return data, ok
}

// Calls lists every request so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Call, len(s.calls))
	for i, c := range s.calls {
		out[i] = *c
	}
	return out
}

// Events lists every change of the state so far.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Active returns the number of calls in progress.
func (s *Server) Active() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// LimitHits counts the calls that a limit refused.
type LimitHits struct{ Content, Points, Concurrent, Primary int }

// LimitHits returns the counts so far. Armed faults don't count.
func (s *Server) LimitHits() LimitHits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits
}

// Forget drops the logs of calls and events, and the faults, but not the state.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.events, s.faults, s.hits = nil, nil, nil, LimitHits{}
}

// Dump returns the whole state in a canonical form: without ids, times and counters,
// and independent of its history.
func (s *Server) Dump() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dump()
}

func (s *Server) dump() string {
	var b bytes.Buffer
	for _, key := range sortedKeys(s.repos) {
		r := s.repos[key]
		fmt.Fprintf(&b, "repository %s/%s\n", r.owner, r.name)
		for _, t := range sortedKeys(r.tags) {
			fmt.Fprintf(&b, "  tag %s %s\n", t, r.tags[t])
		}
		rels := slices.SortedStableFunc(slices.Values(r.releases), func(a, b *release) int { return strings.Compare(a.tag, b.tag) })
		for _, rel := range rels {
			fmt.Fprintf(&b, "  release %s draft=%t prerelease=%t immutable=%t at %s\n    title %q\n    body %q\n",
				rel.tag, rel.draft, rel.prerelease, rel.immutable, rel.commitish, rel.name, rel.body)
			assets := slices.SortedStableFunc(slices.Values(rel.assets), func(a, b *asset) int { return strings.Compare(a.name, b.name) })
			for _, a := range assets {
				fmt.Fprintf(&b, "    asset %s %s %d %s %x\n", a.name, a.state, a.size, a.contentType, sha256.Sum256(a.data))
			}
		}
		if rel := r.latestRelease(); rel != nil {
			fmt.Fprintf(&b, "  latest %s\n", rel.tag)
		}
		events := map[string]bool{}
		for _, d := range r.dispatches {
			events[d.EventType+" "+string(d.Payload)] = true
		}
		for _, e := range sortedKeys(events) {
			fmt.Fprintf(&b, "  dispatched %s\n", e)
		}
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// The rest runs with the lock held.

func (s *Server) nextID() int64 { s.lastID++; return s.lastID }

func (s *Server) newAsset(rel *release, name, label, contentType string) *asset {
	now := s.cfg.Now().UTC()
	a := &asset{
		id: s.nextID(), name: name, label: label, state: "starter", contentType: contentType,
		createdAt: now, updatedAt: now, rel: rel,
	}
	rel.assets = append(rel.assets, a)
	return a
}

// attach adds an asset by hand.
func (s *Server) attach(rel *release, f File) {
	a := s.newAsset(rel, f.Name, "", "application/octet-stream")
	a.createdAt = a.createdAt.Add(-f.Age)
	if !f.Starter {
		s.fill(a, f.Data)
	}
}

// asset returns the asset of a name, or nil. A release that isn't there has none.
func (r *release) asset(name string) *asset {
	if r == nil {
		return nil
	}
	return first(r.assets, func(a *asset) bool { return a.name == name })
}

// first returns the first that fits, or nil.
func first[T any](all []*T, fits func(*T) bool) *T {
	if i := slices.IndexFunc(all, fits); i >= 0 {
		return all[i]
	}
	return nil
}

// flipped returns data with one bit flipped.
func flipped(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 1
	return data
}

func (s *Server) fill(a *asset, data []byte) {
	a.data, a.size, a.state = data, int64(len(data)), "uploaded"
	a.updatedAt = s.cfg.Now().UTC()
	if !s.cfg.NoDigests {
		a.digest = fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	}
}

// touch records that a release changed, for lists that lag.
func (s *Server) touch(rel *release) {
	now := s.cfg.Now().UTC()
	rel.updatedAt = now
	if s.cfg.ListDelay > 0 {
		rel.versions = append(rel.versions, releaseVersion{from: now, view: rel.view()})
	}
}

// view returns the release as it is now, with a list of assets that no later change
// writes to.
func (rel *release) view() release {
	v := *rel
	v.versions, v.assets = nil, slices.Clone(rel.assets)
	return v
}

// listed returns the release as lists show it now, or nil.
func (s *Server) listed(rel *release) *release {
	if s.cfg.ListDelay == 0 {
		if rel.deleted {
			return nil
		}
		return rel
	}
	then := s.cfg.Now().UTC().Add(-s.cfg.ListDelay)
	for i := len(rel.versions) - 1; i >= 0; i-- {
		v := rel.versions[i]
		if v.from.After(then) {
			continue
		}
		if v.view.deleted {
			return nil
		}
		return &v.view
	}
	return nil
}

func (s *Server) event(kind string, rel *release, assetName string) {
	if s.cfg.NoEvents {
		return
	}
	e := Event{Kind: kind, Asset: assetName}
	if rel != nil {
		e.Release, e.Tag, e.Draft = rel.id, rel.tag, rel.draft
		e.Assets = map[string]string{}
		for _, a := range rel.assets {
			e.Assets[a.name] = fmt.Sprintf("sha256:%x", sha256.Sum256(a.data))
			if a.state != "uploaded" {
				e.Assets[a.name] = a.state
			}
		}
	}
	s.events = append(s.events, e)
}

func (r *Repo) byID(id int64) *release {
	return first(r.releases, func(rel *release) bool { return rel.id == id })
}

func (r *Repo) publishedByTag(tag string) *release {
	return first(r.releases, func(rel *release) bool { return rel.tag == tag && !rel.draft })
}

// latestRelease returns what /releases/latest gives: the release that was marked, or
// else the one with the newest commit, even if it declined.
func (r *Repo) latestRelease() *release {
	var newest *release
	for _, rel := range r.releases {
		if rel.draft || rel.prerelease {
			continue
		}
		if rel.id == r.latest {
			return rel
		}
		if newest == nil || rel.createdAt.After(newest.createdAt) {
			newest = rel
		}
	}
	return newest
}

// peel follows tag objects to the commit.
func (r *Repo) peel(sha string) string {
	for range 10 {
		o, ok := r.tagObjects[sha]
		if !ok {
			return sha
		}
		sha = o.target
	}
	return sha
}

var _ http.Handler = (*Server)(nil)
