package github

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// canary is the token of every test: it must never be seen anywhere.
const canary = "ghp_CANARY0123456789abcdefghijklmnop"

// tb is what a test and a property have in common.
type tb interface {
	require.TestingT
	Helper()
	Cleanup(func())
}

// world is a fake GitHub with one repository, and what a release needs of it.
type world struct {
	t      tb
	hub    *fakehub.Local
	repo   *fakehub.Repo
	commit string
	rand   uint64
}

// newWorld starts a fake GitHub. Run it in a synctest bubble: nothing waits there.
func newWorld(t tb, cfg fakehub.Config) *world {
	t.Helper()
	if cfg.Tokens == nil {
		cfg.Tokens = map[string]fakehub.Access{canary: {User: "octocat", Push: true, Scopes: "repo"}}
	}
	w := &world{t: t, hub: fakehub.Start(fakehub.New(cfg)), rand: 1}
	w.repo = w.hub.AddRepo("octo", "hello")
	w.commit = w.repo.Commit("one")
	t.Cleanup(w.hub.Close)
	return w
}

// client returns a new client; edit may change its options.
func (w *world) client(edit ...func(*Options)) *Client {
	w.t.Helper()
	o := Options{
		Token:     func(context.Context) (string, error) { return canary, nil },
		APIURL:    w.hub.URL + "api/v3/",
		Transport: w.hub.Transport(false, false),
		rand:      func() float64 { return 0.5 },
	}
	for _, e := range edit {
		e(&o)
	}
	c, err := New(o)
	require.NoError(w.t, err)
	return c
}

// file is an asset with the given content.
func file(name string, data []byte) Asset {
	sum := sha256.Sum256(data)
	return Asset{
		Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
		Open: func() (io.ReadCloser, error) { return &opened{r: bytes.NewReader(data)}, nil },
	}
}

// opened is an open file: once it is closed, reading it fails.
type opened struct {
	r      *bytes.Reader
	closed atomic.Bool
}

func (f *opened) Read(p []byte) (int, error) {
	if f.closed.Load() {
		return 0, os.ErrClosed
	}
	return f.r.Read(p)
}

func (f *opened) Close() error {
	f.closed.Store(true)
	return nil
}

// bytesOf is deterministic content of a length.
func bytesOf(seed string, n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, i))
		b = append(b, sum[:]...)
	}
	return b[:n]
}

func versionOf(tag string) (*semver.Version, bool) {
	v, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
	return v, err == nil && strings.HasPrefix(tag, "v")
}

// spec is a release of three assets.
func (w *world) spec(tag string) Spec {
	v, _ := versionOf(tag)
	return Spec{
		Owner: "octo", Repo: "hello", Tag: tag, Commit: w.commit, Title: tag, Notes: "What changed.\n",
		Prerelease: v != nil && v.Prerelease() != "",
		VersionOf:  versionOf, OwnsLatest: true,
		Assets: []Asset{
			file("hello-x86_64-unknown-linux-gnu.tar.gz", bytesOf("x86_64"+tag, 3000)),
			file("hello-aarch64-unknown-linux-gnu.tar.gz", bytesOf("aarch64"+tag, 2000)),
			file("SHA256SUMS", bytesOf("sums"+tag, 200)),
		},
	}
}

// neverIncomplete asserts, from the log of events, that no release was ever
// published without all assets of its spec, and that none of them was touched
// afterwards.
func (w *world) neverIncomplete(specs ...Spec) {
	w.t.Helper()
	for _, s := range specs {
		published := false
		for _, e := range w.hub.Events() {
			if e.Tag != s.Tag || e.Kind == "create" {
				continue
			}
			published = published || e.Kind == "publish"
			if !published || e.Draft {
				continue
			}
			for _, a := range s.Assets {
				require.Equal(w.t, "sha256:"+a.SHA256, e.Assets[a.Name], "after %q of %s, asset %s", e.Kind, e.Tag, a.Name)
			}
		}
	}
}

// quiet asserts that the token is in none of the texts.
func quiet(t testing.TB, texts ...string) {
	t.Helper()
	for _, s := range texts {
		require.NotContains(t, s, "CANARY")
	}
}

func texts(t testing.TB, rep *Report, err error) []string {
	t.Helper()
	var out []string
	if err != nil {
		out = append(out, err.Error(), fmt.Sprintf("%+v %#v", err, err))
	}
	if rep != nil {
		j, jerr := json.Marshal(rep)
		require.NoError(t, jerr)
		out = append(out, rep.Text(), string(j))
	}
	return out
}
