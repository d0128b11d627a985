package published

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/github/fakehub"
	"dagger/gantry/ci/manifest"
)

const sha = "0123456789abcdef0123456789abcdef01234567"

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// files of a release, as phase 1 writes them.
func files(t *testing.T, tag, version, repository string) []fakehub.File {
	t.Helper()
	content := []byte("an archive")
	m := manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Component: "app", Tag: tag, Version: version, Channel: "stable",
		Commit: sha, CommitDate: "2026-01-01T00:00:00Z", Repository: repository,
		Toolchain: manifest.Toolchain{Rustc: "rustc 1.96.0", Cargo: "cargo 1.96.0"},
		Assets: []manifest.Asset{{
			Name: "app.tar.gz", Kind: manifest.KindArchive, Target: "x86_64-unknown-linux-gnu", SHA256: digest(content), Size: int64(len(content)),
			Binaries: []manifest.Binary{{Name: "app", Package: "app", Path: "app/app", SHA256: digest(content), Size: 1, Format: "elf", Arch: "x86_64", Linkage: "static"}},
		}},
	}
	text, err := m.Marshal()
	require.NoError(t, err)
	sums := archive.Sums{}
	require.NoError(t, sums.Add("app.tar.gz", digest(content)))
	require.NoError(t, sums.Add(manifest.FileName, digest(text)))
	lines, err := sums.Format()
	require.NoError(t, err)
	return []fakehub.File{{Name: "app.tar.gz", Data: content}, {Name: manifest.FileName, Data: text}, {Name: manifest.SumsName, Data: lines}}
}

func setup(t *testing.T) (*fakehub.Repo, *github.Client) {
	t.Helper()
	hub := fakehub.Start(fakehub.New(fakehub.Config{}))
	t.Cleanup(hub.Close)
	client, err := github.New(github.Options{APIURL: hub.URL + "api/v3/", Transport: hub.Transport(false), Clock: fakehub.NewClock(time.Now())})
	require.NoError(t, err)
	return hub.AddRepo("o", "r"), client
}

func TestOpenWaitsForACompleteRelease(t *testing.T) {
	repo, client := setup(t)
	all := files(t, "app-1.0.0", "1.0.0", "")
	e, err := event.FromTag("o/r", "app-1.0.0")
	require.NoError(t, err)

	_, err = Open(t.Context(), client, e, Options{})
	assert.ErrorContains(t, err, "is not complete: it is not published")

	repo.Seed(fakehub.Seed{Tag: "app-0.9.0", Commit: sha})
	repo.Seed(fakehub.Seed{Tag: "app-cli-7.0.0", Commit: sha})
	var why []string
	naps := 0
	r, err := Open(t.Context(), client, e, Options{Wait: time.Minute, Progress: func(s string) { why = append(why, s) },
		Sleep: func(context.Context, time.Duration) error {
			if naps++; naps == 2 {
				repo.Seed(fakehub.Seed{Tag: "app-1.0.0", Commit: sha, Files: all})
			}
			return nil
		}})
	require.NoError(t, err)
	assert.Equal(t, []string{"it is not published", "it is not published"}, why)
	require.Len(t, r.Known, 1, "versions of the other component do not count")
	assert.Equal(t, "0.9.0", r.Known[0].String())
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name, says string
		files      func([]fakehub.File) []fakehub.File
	}{
		{"no manifest", `asset "release-manifest.json" is missing`, func(f []fakehub.File) []fakehub.File { return f[:1] }},
		{"no archive", `assets are missing: "app.tar.gz"`, func(f []fakehub.File) []fakehub.File { return f[1:] }},
		{"half an archive", `assets are missing: "app.tar.gz"`, func(f []fakehub.File) []fakehub.File { f[0].Starter = true; return f }},
		{"another manifest", "not what the release says it is", func(f []fakehub.File) []fakehub.File { f[1].Data = append(f[1].Data, ' '); return f }},
		{"a page", "HTML page", func(f []fakehub.File) []fakehub.File { f[1].Data = []byte("<!DOCTYPE html><html></html>"); return f }},
	} {
		repo, client := setup(t)
		repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: c.files(files(t, "v1.0.0", "1.0.0", ""))})
		e, err := event.FromTag("o/r", "v1.0.0")
		require.NoError(t, err)
		_, err = Open(t.Context(), client, e, Options{})
		assert.ErrorContains(t, err, c.says, c.name)
	}
}

func TestOpenRefusesAForeignManifest(t *testing.T) {
	repo, client := setup(t)
	repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: files(t, "v1.0.0", "1.0.0", "https://github.com/someone/else")})
	e, err := event.FromTag("o/r", "v1.0.0")
	require.NoError(t, err)
	_, err = Open(t.Context(), client, e, Options{})
	assert.ErrorIs(t, err, event.ErrForeign)
}

func TestVersionOf(t *testing.T) {
	for _, c := range []struct{ own, version, tag, want string }{
		{"v1.0.0", "1.0.0", "v2.0.0", "2.0.0"},
		{"v1.0.0", "1.0.0", "2.0.0", "2.0.0"},
		{"app-1.0.0", "1.0.0", "app-v2.0.0-rc.1", "2.0.0-rc.1"},
		{"app-1.0.0", "1.0.0", "app-cli-2.0.0", ""},
		{"app-1.0.0", "1.0.0", "v2.0.0", ""},
		{"v1.0.0", "1.0.0", "edge", ""},
	} {
		v, ok := VersionOf(&manifest.Manifest{Tag: c.own, Version: c.version}, c.tag)
		assert.Equal(t, c.want != "", ok, c.tag)
		if ok {
			assert.Equal(t, c.want, v.String(), strings.Join([]string{c.own, c.tag}, " "))
		}
	}
}
