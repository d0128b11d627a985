package imagespec

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/target"
)

const (
	gnu  = "x86_64-unknown-linux-gnu"
	musl = "x86_64-unknown-linux-musl"
	arm  = "aarch64-unknown-linux-musl"
)

// release has an archive of static binaries for each target.
func release(t *testing.T, image *manifest.Image, binaries []string, triples ...string) *manifest.Manifest {
	t.Helper()
	m := &manifest.Manifest{
		Component: "app", Tag: "v1.2.3", Version: "1.2.3", Commit: strings.Repeat("c", 40), CommitDate: "2026-04-14T09:30:00Z",
		Repository: "https://github.com/acme/app", License: "MIT", Image: image,
	}
	for _, triple := range triples {
		known, err := target.Lookup(triple)
		require.NoError(t, err)
		root := "app-1.2.3-" + triple
		a := manifest.Asset{Name: root + known.Archive, Kind: manifest.KindArchive, Target: triple, Files: []manifest.File{
			{Path: root + "/LICENSE", SHA256: "l", Mode: "0644"}, {Path: root + "/config/app.toml", SHA256: "c", Mode: "0644"}, {Path: root + "/config/run.sh", SHA256: "r", Mode: "0755"},
		}}
		for _, b := range binaries {
			a.Binaries = append(a.Binaries, manifest.Binary{Name: b, Path: root + "/" + b, SHA256: b, Linkage: "static"})
		}
		m.Assets = append(m.Assets, a)
	}
	return m
}

func TestItems(t *testing.T) {
	m := release(t, nil, []string{"app"}, musl)
	items, err := Items(m.Assets[0], map[string]string{"config": "/etc/app/", "LICENSE": "/usr/share/doc/app/", "app": "/opt/app"})
	require.NoError(t, err)
	root := "app-1.2.3-" + musl
	assert.Equal(t, map[string][]Item{
		root + "/app":             {{"/usr/local/bin/app", "app", 0o755}, {"/opt/app", "app", 0o755}},
		root + "/LICENSE":         {{"/usr/share/doc/app/LICENSE", "l", 0o644}},
		root + "/config/app.toml": {{"/etc/app/app.toml", "c", 0o644}},
		root + "/config/run.sh":   {{"/etc/app/run.sh", "r", 0o755}},
	}, items)
	_, err = Items(m.Assets[0], map[string]string{"confg": "/etc/app", "LICENSE": "/lib/x"})
	for _, says := range []string{`include "confg" is not in archive`, `"/lib/x" is below "/lib"`} {
		assert.ErrorContains(t, err, says, "all of them at once")
	}
	for _, dest := range []string{"/", "etc/x", "/etc/", "/etc/../x"} {
		assert.ErrorContains(t, checkDest(dest), "is not the absolute path of a file", dest)
	}
	for _, dir := range reserved {
		assert.Error(t, checkDest(dir), dir)
		assert.Error(t, checkDest(dir+"/x"), dir)
		assert.NoError(t, checkDest(dir+"x/y"), dir)
	}
}

func TestEntrypoint(t *testing.T) {
	for _, c := range []struct {
		binaries []string
		spec     manifest.Image
		want     string
	}{
		{[]string{"tool"}, manifest.Image{}, "/usr/local/bin/tool"},
		{[]string{"app", "tool"}, manifest.Image{}, "/usr/local/bin/app"},
		{[]string{"one", "two"}, manifest.Image{}, ""},
		{[]string{"one", "two"}, manifest.Image{Entrypoint: []string{"two"}}, "two"},
	} {
		m := release(t, &c.spec, c.binaries, musl)
		got, err := Entrypoint(m, c.spec, m.Assets[0])
		if c.want == "" {
			require.ErrorIs(t, err, ErrSpec)
			assert.ErrorContains(t, err, "any of one, two may be the entrypoint")
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, []string{c.want}, got)
	}
}

func TestAnnotations(t *testing.T) {
	m := release(t, &manifest.Image{Labels: map[string]string{KeyTitle: "The app", KeyDescription: "", "org.example.team": "core"}}, []string{"app"}, musl)
	got, err := Annotations(m)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{
		KeyTitle: "The app", KeyVersion: "1.2.3", KeyRevision: m.Commit, KeySource: m.Repository, KeyURL: m.Repository,
		KeyLicenses: "MIT", KeyCreated: m.CommitDate,
	}, got)
	for _, key := range []string{KeyVersion, KeyRevision, KeyCreated, KeyBaseName, KeyBaseDigest, KeyRefName} {
		m.Image.Labels = map[string]string{key: "x", KeyRefName: "y"}
		_, err := Annotations(m)
		assert.ErrorContains(t, err, `sets label "`+key+`" from the release`)
		assert.ErrorContains(t, err, KeyRefName)
	}
}

func TestCheck(t *testing.T) {
	image := func(change func(*manifest.Image)) *manifest.Image {
		i := &manifest.Image{}
		change(i)
		return i
	}
	user := func(user, base string) *manifest.Image { return &manifest.Image{User: user, Base: base} }
	entry := func(program, base string) *manifest.Image {
		return &manifest.Image{Entrypoint: []string{program}, Base: base}
	}
	for name, c := range map[string]struct {
		image *manifest.Image
		says  string // empty for nothing
	}{
		"nothing":                    {nil, ""},
		"everything":                 {&manifest.Image{Repositories: []string{"ghcr.io/acme/app", "localhost/app", "host:80/app"}, Base: "debian:bookworm-slim"}, ""},
		"no registry":                {&manifest.Image{Repositories: []string{"acme/app"}}, `repository "acme/app" names no registry: write it like "ghcr.io/acme/app"`},
		"too long a name":            {&manifest.Image{Repositories: []string{"ghcr.io/" + strings.Repeat("a", 256)}}, `aaa" is not one to push to`},
		"a base with a digest":       {&manifest.Image{Base: "ghcr.io/acme/base@sha256:" + strings.Repeat("0", 64)}, ""},
		"a base with half a digest":  {&manifest.Image{Base: "ghcr.io/acme/base@sha256:00"}, `base "ghcr.io/acme/base@sha256:00" is not an image reference`},
		"a base without its tag":     {&manifest.Image{Base: "debian:"}, `base "debian:" is not an image reference`},
		"user by number":             {user("0", ""), ""},
		"user of distroless":         {user("nobody:tty", ""), ""},
		"user of no base":            {user("app", "gcr.io/distroless/cc-debian12:nonroot"), `the base image has no user "app"`},
		"group of no base":           {user("1000:app", ""), `has no user "1000:app"`},
		"user of nothing":            {user("root", Scratch), `has no user "root"`},
		"user of another base":       {user("app", "debian:bookworm"), ""},
		"user of a debug image":      {user("app", "gcr.io/distroless/static-debian12:debug"), ""},
		"user that is included":      {image(func(i *manifest.Image) { i.User, i.Include = "app", map[string]string{"LICENSE": "/etc/passwd"} }), ""},
		"program by path":            {entry("/usr/local/bin/app", ""), ""},
		"program by name":            {entry("app", ""), ""},
		"program by relative path":   {entry("./usr/local/bin/app", ""), ""},
		"program in the work folder": {image(func(i *manifest.Image) { i.Entrypoint, i.Workdir = []string{"bin/app"}, "/usr/local" }), ""},
		"program that is included": {image(func(i *manifest.Image) {
			i.Entrypoint, i.Include = []string{"/run.sh"}, map[string]string{"config/run.sh": "/run.sh"}
		}), ""},
		"another program":          {entry("/usr/local/bin/ap", Scratch), `entrypoint "/usr/local/bin/ap" is not in the image; did you mean "/usr/local/bin/app"?`},
		"another name":             {entry("zzzzzzzzzzzzzzzzzzzzzzz", "gcr.io/distroless/static-debian12"), `entrypoint "zzzzzzzzzzzzzzzzzzzzzzz" is not in the image; binaries are in /usr/local/bin`},
		"another path":             {image(func(i *manifest.Image) { i.Entrypoint, i.Env = []string{"tool"}, map[string]string{"PATH": "/opt"} }), ""},
		"a program of the base":    {entry("tini", "debian:bookworm"), ""},
		"a shell of a debug image": {entry("/busybox/sh", "gcr.io/distroless/static-debian12:debug"), ""},
		"a platform too many":      {&manifest.Image{Platforms: []string{"linux/amd64", "linux/s390x"}}, `no archive for platform "linux/s390x", only for linux/amd64`},
		"several reasons":          {&manifest.Image{Base: "debian:", Platforms: []string{"linux/s390x", "linux/386"}}, `no archive for platform "linux/386"`},
	} {
		err := Check(release(t, c.image, []string{"app"}, musl))
		if c.says == "" {
			assert.NoError(t, err, name)
			continue
		}
		assert.ErrorContains(t, err, c.says, name)
		assert.ErrorIs(t, err, ErrSpec, name)
	}
	err := Check(release(t, nil, []string{"app"}, musl, "i686-unknown-linux-gnu"))
	require.ErrorIs(t, err, ErrBase)
	assert.ErrorContains(t, err, `the default base images have no platform "linux/386"`)
	assert.NoError(t, Check(release(t, &manifest.Image{Base: "debian:bookworm"}, []string{"app"}, "i686-unknown-linux-gnu")))
	assert.ErrorContains(t, Check(release(t, nil, []string{"app"}, "x86_64-pc-windows-gnu")), "has no archive for Linux")
}

func TestChoose(t *testing.T) {
	m := release(t, nil, []string{"app"}, gnu, musl, arm)
	choices, err := Choose(m)
	require.NoError(t, err)
	require.Len(t, choices, 2)
	assert.Equal(t, "linux/amd64", choices[0].Platform)
	assert.Equal(t, gnu, choices[0].Target, "among static ones, the first by triple")
	m.Assets[0].Binaries[0].Linkage = "dynamic"
	choices, err = Choose(m)
	require.NoError(t, err)
	assert.Equal(t, musl, choices[0].Target)
	assert.Equal(t, StaticBase, choices[0].Base)
	assert.Equal(t, m.Assets[1], choices[0].Asset)

	m = release(t, &manifest.Image{Base: Scratch}, []string{"app", "tool"}, gnu)
	for i := range m.Assets[0].Binaries {
		m.Assets[0].Binaries[i].Linkage = "dynamic"
	}
	_, err = Choose(m)
	assert.ErrorContains(t, err, `binary "app" of "x86_64-unknown-linux-gnu" is dynamic, and "scratch" has no loader`)
	assert.ErrorContains(t, err, `binary "tool"`, "all of them at once")
}

func TestRegistryOf(t *testing.T) {
	for ref, want := range map[string]string{
		Scratch: "", "debian": "index.docker.io", "localhost:5000/base:1": "localhost:5000", "a b": "", StaticBase: "gcr.io",
	} {
		assert.Equal(t, want, RegistryOf(ref), ref)
	}
}
