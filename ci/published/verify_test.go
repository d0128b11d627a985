package published

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// made is a release as phase 1 makes it: two archives and a changelog.
type made struct {
	m     manifest.Manifest
	files map[string][]byte
}

const program = "\x7fELF, made up\n"

func newMade(t *testing.T, commit string) *made {
	t.Helper()
	r := &made{files: map[string][]byte{"CHANGELOG.md": []byte("# Changelog\n")}}
	r.m = manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Component: "app", Tag: "v1.0.0", Version: "1.0.0", Channel: "stable",
		Commit: commit, CommitDate: "2026-01-01T00:00:00Z",
		Toolchain: manifest.Toolchain{Rustc: "rustc 1.96.0", Cargo: "cargo 1.96.0"},
		Assets: []manifest.Asset{
			{Name: "CHANGELOG.md", Kind: manifest.KindChangelog},
			{Name: "app-aarch64.tar.gz", Kind: manifest.KindArchive, Target: "aarch64-unknown-linux-gnu"},
			{Name: "app-x86_64.tar.gz", Kind: manifest.KindArchive, Target: "x86_64-unknown-linux-gnu"},
		},
	}
	for i := range r.m.Assets {
		a := &r.m.Assets[i]
		if a.Kind == manifest.KindArchive {
			r.files[a.Name] = packed(t, map[string]string{"app": program + a.Target})
			a.Binaries = []manifest.Binary{{
				Name: "app", Package: "app", Path: "app/app", SHA256: digest([]byte(program + a.Target)), Size: int64(len(program + a.Target)),
				Format: "elf", Arch: strings.Split(a.Target, "-")[0], Linkage: "static",
			}}
		}
	}
	r.measure()
	return r
}

func packed(t *testing.T, programs map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	var entries []archive.Entry
	for name, text := range programs {
		entries = append(entries, bytesEntry(name, 0o755, []byte(text)))
	}
	require.NoError(t, archive.Write(&b, archive.TarGz, "app", time.Unix(0, 0), entries))
	return b.Bytes()
}

// measure writes what the files are into the manifest.
func (r *made) measure() {
	for i := range r.m.Assets {
		a := &r.m.Assets[i]
		a.SHA256, a.Size = digest(r.files[a.Name]), int64(len(r.files[a.Name]))
	}
}

// seal writes the manifest and SHA256SUMS.
func (r *made) seal(t *testing.T) {
	t.Helper()
	text, err := r.m.Marshal()
	require.NoError(t, err)
	r.files[manifest.FileName] = text
	sums := archive.Sums{}
	for _, a := range r.m.Assets {
		require.NoError(t, sums.Add(a.Name, a.SHA256))
	}
	require.NoError(t, sums.Add(manifest.FileName, digest(text)))
	r.files[manifest.SumsName], err = sums.Format()
	require.NoError(t, err)
}

// shop is a fake GitHub with the release on it.
type shop struct {
	*made
	hub    *fakehub.Local
	repo   *fakehub.Repo
	commit string
	id     int64
}

// newShop publishes a release. Before edits what phase 1 built, after the files
// of the release.
func newShop(t *testing.T, cfg fakehub.Config, before func(*made), after func(*made)) *shop {
	t.Helper()
	w := &shop{hub: fakehub.Start(fakehub.New(cfg))}
	t.Cleanup(w.hub.Close)
	w.repo = w.hub.AddRepo("o", "r")
	w.commit = w.repo.Commit("one")
	w.made = newMade(t, w.commit)
	if before != nil {
		before(w.made)
	}
	w.seal(t)
	if after != nil {
		after(w.made)
	}
	w.put()
	return w
}

// put publishes the release with its files.
func (w *shop) put() {
	seed := fakehub.Seed{Tag: "v1.0.0", Commit: w.commit, Latest: true}
	for name, data := range w.files {
		seed.Files = append(seed.Files, fakehub.File{Name: name, Data: data, Starter: data == nil})
	}
	w.id = w.repo.Seed(seed)
}

func (w *shop) verify(t *testing.T) (*Verification, error) {
	t.Helper()
	return w.verifyWith(t, nil)
}

func (w *shop) verifyWith(t *testing.T, by attest.Verifier) (*Verification, error) {
	t.Helper()
	client, err := github.New(github.Options{
		APIURL: w.hub.TLSURL() + "api/v3/", Transport: w.hub.Transport(true, true), Clock: fakehub.NewClock(time.Now()),
	})
	require.NoError(t, err)
	return Verify(context.Background(), client, "o", "r", "v1.0.0", by)
}

// A release as phase 1 makes it has nothing wrong, with and without the server's
// digests.
func TestReleaseThatIsRight(t *testing.T) {
	for _, cfg := range []fakehub.Config{{}, {NoDigests: true}} {
		synctest.Test(t, func(t *testing.T) {
			w := newShop(t, cfg, nil, nil)
			r, err := w.verify(t)
			require.NoError(t, err)
			require.Empty(t, r.Findings)
			require.NoError(t, r.Err())
			require.Equal(t, 5, r.Assets)
			total := int64(0)
			for _, f := range w.files {
				total += int64(len(f))
			}
			require.Equal(t, total, r.Bytes)
			require.Contains(t, r.Text(), "verified: every asset")
			for _, c := range w.hub.Calls() {
				require.False(t, c.Write, c)
			}
		})
	}
}

// finding is one thing that can be wrong.
type finding struct {
	name string
	cfg  fakehub.Config
	// before and after are as for newShop; tamper changes the published release.
	before, after func(*made)
	tamper        func(*shop)
	says          string
}

var noDigests = fakehub.Config{NoDigests: true}

var findings = []finding{
	{name: "no manifest", after: func(r *made) { delete(r.files, manifest.FileName) }, says: `asset "release-manifest.json" is missing, so nothing can be verified`},
	{name: "no SHA256SUMS", after: func(r *made) { delete(r.files, manifest.SumsName) }, says: `asset "SHA256SUMS" is missing, so nothing can be verified`},
	{name: "a manifest half uploaded", after: func(r *made) { r.files[manifest.FileName] = nil }, says: `asset "release-manifest.json" is missing, so nothing can be verified`},
	{name: "a huge manifest", after: func(r *made) { r.files[manifest.FileName] = make([]byte, manifest.MaxSize+1) },
		says: fmt.Sprintf(`asset "release-manifest.json" has %d bytes, more than %d`, manifest.MaxSize+1, manifest.MaxSize)},
	{name: "another manifest", after: func(r *made) { r.files[manifest.FileName] = []byte("{}") }, says: `asset "release-manifest.json" has SHA-256 `},
	{name: "a broken manifest", after: func(r *made) {
		sums := bytes.ReplaceAll(r.files[manifest.SumsName], []byte(digest(r.files[manifest.FileName])), []byte(digest([]byte("{}"))))
		r.files[manifest.FileName], r.files[manifest.SumsName] = []byte("{}"), sums
	}, says: `asset "release-manifest.json" is invalid: read release-manifest.json: `},
	{name: "another tag's manifest", before: func(r *made) { r.m.Tag, r.m.Version = "v1.0.1", "1.0.1" }, says: `release-manifest.json is for tag "v1.0.1"`},
	{name: "another digest in SHA256SUMS", after: func(r *made) {
		r.files[manifest.SumsName] = bytes.ReplaceAll(r.files[manifest.SumsName], []byte(digest(r.files["CHANGELOG.md"])), []byte(strings.Repeat("0", 64)))
	}, says: `asset "CHANGELOG.md" has SHA-256 0000`},
	{name: "a moved tag", tamper: func(w *shop) { w.repo.Tag("v1.0.0", w.repo.Commit("two")) }, says: `tag "v1.0.0" was moved: it is at commit `},
	{name: "a deleted tag", tamper: func(w *shop) { w.repo.Untag("v1.0.0") }, says: `tag "v1.0.0" is gone`},
	{name: "an asset of nobody's", after: func(r *made) { r.files["extra.txt"] = []byte("x") }, says: `asset "extra.txt" is not listed in release-manifest.json`},
	{name: "a missing asset", after: func(r *made) { delete(r.files, "app-x86_64.tar.gz") }, says: `asset "app-x86_64.tar.gz" is missing`},
	{name: "an asset half uploaded", after: func(r *made) { r.files["app-x86_64.tar.gz"] = nil }, says: `asset "app-x86_64.tar.gz" is missing`},
	{name: "an asset with another digest", after: func(r *made) { r.files["CHANGELOG.md"] = []byte("# changelog\n") }, says: `asset "CHANGELOG.md" has SHA-256 `},
	{name: "an asset with another digest, of which the server knows none", cfg: noDigests,
		after: func(r *made) { r.files["CHANGELOG.md"] = []byte("# changelog\n") }, says: `asset "CHANGELOG.md" has SHA-256 `},
	{name: "an asset with another size", cfg: noDigests, after: func(r *made) { r.files["CHANGELOG.md"] = []byte("#") }, says: `asset "CHANGELOG.md" has 1 bytes, but release-manifest.json lists 12`},
	{name: "an archive with another program", before: func(r *made) {
		r.m.Assets[2].Binaries[0].SHA256 = strings.Repeat("1", 64)
	}, says: `asset "app-x86_64.tar.gz" contains "app/app" with `},
	{name: "an archive without the program", before: func(r *made) {
		r.m.Assets[2].Binaries[0].Path = "app/other"
	}, says: `asset "app-x86_64.tar.gz" lacks "app/other"`},
	{name: "an archive that is none", before: func(r *made) {
		r.files["app-x86_64.tar.gz"] = []byte("no archive")
		r.measure()
	}, says: `asset "app-x86_64.tar.gz" is invalid: `},
}

// An archive has exactly the listed files, as they are listed.
func TestCheckArchive(t *testing.T) {
	r := newMade(t, strings.Repeat("a", 40))
	text := []byte("MIT\n")
	var b bytes.Buffer
	require.NoError(t, archive.Write(&b, archive.TarGz, "app", time.Unix(0, 0), []archive.Entry{
		bytesEntry("app", 0o755, []byte(program)), bytesEntry("LICENSE", 0o644, text),
	}))
	check := func(change func(a *manifest.Asset)) error {
		a := manifest.Asset{
			Name: "app.tar.gz", Size: int64(b.Len()), Binaries: slices.Clone(r.m.Assets[1].Binaries),
			Files: []manifest.File{{Path: "app/LICENSE", SHA256: digest(text), Size: int64(len(text)), Mode: "0644"}},
		}
		a.Binaries[0].SHA256, a.Binaries[0].Size = digest([]byte(program)), int64(len(program))
		change(&a)
		return checkArchive(bytes.NewReader(b.Bytes()), a)
	}
	require.NoError(t, check(func(*manifest.Asset) {}))
	require.ErrorContains(t, check(func(a *manifest.Asset) { a.Binaries[0].SHA256 = digest(text) }), "but release-manifest.json lists")
	require.ErrorContains(t, check(func(a *manifest.Asset) { a.Files[0].Mode = "0755" }), "and mode 0644")
	require.ErrorContains(t, check(func(a *manifest.Asset) { a.Files[0].Size++ }), "with 4 bytes")
	require.ErrorContains(t, check(func(a *manifest.Asset) { a.Files = nil }), "which release-manifest.json does not list")
	require.ErrorContains(t, check(func(a *manifest.Asset) { a.Files = append(a.Files, manifest.File{Path: "more"}) }), `lacks "more"`)
	require.ErrorContains(t, check(func(a *manifest.Asset) { a.Size-- }), `asset "app.tar.gz" is invalid: `)
	require.ErrorContains(t, check(func(a *manifest.Asset) { a.Name = "app.rar" }), `asset "app.rar" is not an archive: `)
}

// Each thing that can be wrong is found, named, and makes the verification fail.
func TestFindings(t *testing.T) {
	for _, f := range findings {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newShop(t, f.cfg, f.before, f.after)
				if f.tamper != nil {
					f.tamper(w)
				}
				r, err := w.verify(t)
				require.NoError(t, err, "it could be checked")
				require.Len(t, r.Findings, 1, r.Findings)
				require.Contains(t, r.Findings[0], f.says)
				require.ErrorContains(t, r.Err(), f.says)
				require.Contains(t, r.Text(), "wrong: "+r.Findings[0])
				require.NotContains(t, r.Text(), "\nverified:")
			})
		})
	}
	t.Logf("%d findings, each named", len(findings))
}

// All findings are reported at once.
func TestSeveralFindings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, fakehub.Config{}, nil, func(r *made) {
			delete(r.files, "app-x86_64.tar.gz")
			r.files["CHANGELOG.md"], r.files["extra.txt"] = []byte("# changelog\n"), []byte("x")
		})
		w.repo.Untag("v1.0.0")
		r, err := w.verify(t)
		require.NoError(t, err)
		require.Len(t, r.Findings, 4)
	})
}

// A download that differs from what the server itself says is a finding about the
// release; also where it hits the manifest.
func TestStoredDifferently(t *testing.T) {
	for _, name := range []string{manifest.FileName, "CHANGELOG.md"} {
		synctest.Test(t, func(t *testing.T) {
			w := newShop(t, fakehub.Config{}, nil, nil)
			w.repo.Rot(w.id, name)
			r, err := w.verify(t)
			require.NoError(t, err)
			require.Len(t, r.Findings, 1)
			require.Contains(t, r.Findings[0], fmt.Sprintf("download %q: not what it should be: its SHA-256 is ", name))
		})
	}
}

// What could not be read is an error, and never a finding: nobody should look for
// a tampered release when the network is down.
func TestUnreadableIsNoFinding(t *testing.T) {
	for _, kind := range []fakehub.FaultKind{fakehub.ServerError, fakehub.Reset, fakehub.GoAwayAfter, fakehub.Denied, fakehub.Login, fakehub.RequestTimeout} {
		for _, op := range []string{"get release by tag", "list assets", "get ref", "download", "get object"} {
			synctest.Test(t, func(t *testing.T) {
				w := newShop(t, fakehub.Config{}, nil, nil)
				w.hub.Arm(fakehub.Fault{Kind: kind, N: 1, Times: -1, Match: func(c fakehub.Call) bool { return c.Op == op }})
				r, err := w.verify(t)
				if kind == fakehub.Reset && op == "download" {
					require.NoError(t, err, "a redirect is followed without its body")
					return
				}
				require.Error(t, err, "%s on %s", kind, op)
				require.NotContains(t, err.Error(), "does not match its manifest")
				if r != nil {
					require.Empty(t, r.Findings)
				}
			})
		}
	}
	// The manifest and SHA256SUMS were read; it is the first asset that can't be.
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, fakehub.Config{}, nil, nil)
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, N: 3, Times: -1, Match: func(c fakehub.Call) bool { return c.Op == "get object" }})
		_, err := w.verify(t)
		require.ErrorContains(t, err, `download "CHANGELOG.md"`)
	})
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, fakehub.Config{}, nil, nil)
		w.repo.Delete(w.id)
		_, err := w.verify(t)
		require.ErrorIs(t, err, github.ErrNotFound)
	})
}

// HTTP/2 over TLS, reset at every call in every way: no verification needs a
// second run.
func TestHTTP2ResetsOverTLS(t *testing.T) {
	calls := 0
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, fakehub.Config{}, nil, nil)
		_, err := w.verify(t)
		require.NoError(t, err)
		calls = len(w.hub.Calls())
	})
	kinds := []fakehub.FaultKind{fakehub.Reset, fakehub.ResetAfter, fakehub.Refused, fakehub.RefusedAfter, fakehub.GoAway, fakehub.GoAwayAfter}
	cells := 0
	for _, kind := range kinds {
		for n := 1; n <= calls; n++ {
			cells++
			synctest.Test(t, func(t *testing.T) {
				w := newShop(t, fakehub.Config{}, nil, nil)
				w.hub.Arm(fakehub.Fault{Kind: kind, N: n})
				r, err := w.verify(t)
				require.NoError(t, err, "call %d, %s", n, kind)
				require.Equal(t, 1, w.hub.FaultsMet())
				require.Empty(t, r.Findings)
				require.Equal(t, 5, r.Assets)
			})
		}
	}
	require.Equal(t, 13, calls)
	require.Equal(t, 78, cells)
	t.Logf("%d calls of a verification, %d kinds of reset, %d cells over TLS with HTTP/2: 0 needed a second run", calls, len(kinds), cells)
}

// bytesEntry returns an entry with the given content.
func bytesEntry(path string, mode fs.FileMode, content []byte) archive.Entry {
	return archive.Entry{Path: path, Mode: mode, Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}
