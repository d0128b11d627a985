package imagespec

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/target"
)

// What well-known base images have; of all others nothing is known.
func TestRuntimeOf(t *testing.T) {
	base := append([]string{}, binary.GlibcLibraries...)
	ssl := append(append([]string{}, base...), "libssl.so.3", "libcrypto.so.3")
	cc := append(append([]string{}, ssl...), "libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1")
	digest := "@sha256:" + strings.Repeat("0", 64)
	for ref, want := range map[string]runtime{
		"scratch": {}, "gcr.io/distroless/static-debian12:nonroot": {}, "gcr.io/distroless/static": {}, "gcr.io/distroless/static-debian99": {},
		"gcr.io/distroless/cc-debian12:nonroot":          {"gnu", "2.36", cc},
		"gcr.io/distroless/cc-debian12" + digest:         {"gnu", "2.36", cc},
		"gcr.io/distroless/cc-debian12:nonroot" + digest: {"gnu", "2.36", cc},
		"gcr.io/distroless/base-debian12":                {"gnu", "2.36", ssl},
		"gcr.io/distroless/base-nossl-debian12:latest":   {"gnu", "2.36", base},
		"gcr.io/distroless/python3-debian12":             {"gnu", "2.36", nil},
		"gcr.io/distroless/cc-debian11":                  {"gnu", "2.31", nil},
		"gcr.io/distroless/cc-debian13":                  {"gnu", "2.41", nil},
		"alpine:3.20":                                    {libc: "musl"},
		"alpine":                                         {libc: "musl"},
		"docker.io/library/alpine" + digest:              {libc: "musl"},
		"docker.io/alpine":                               {libc: "musl"},
		"debian:bookworm-slim":                           {"gnu", "2.36", nil},
		"docker.io/library/debian:bullseye":              {"gnu", "2.31", nil},
		"debian:trixie-20260101":                         {"gnu", "2.41", nil},
		"ubuntu:20.04":                                   {"gnu", "2.31", nil},
		"ubuntu:focal":                                   {"gnu", "2.31", nil},
		"ubuntu:22.04":                                   {"gnu", "2.35", nil},
		"ubuntu:jammy-20260101":                          {"gnu", "2.35", nil},
		"library/ubuntu:24.04":                           {"gnu", "2.39", nil},
		"ubuntu:noble":                                   {"gnu", "2.39", nil},
	} {
		got, known := runtimeOf(ref)
		assert.True(t, known, ref)
		assert.Equal(t, want, got, ref)
	}
	for _, ref := range []string{
		"debian", "debian:sid", "ubuntu:latest", "ubuntu", "ghcr.io/o/alpine", "gcr.io/distroless/cc", "gcr.io/distroless/cc-debian99", "localhost:5000/debian",
		"registry.example.com:5000/x/ubuntu", "fedora:41", "gcr.io/other/static",
	} {
		got, known := runtimeOf(ref)
		assert.False(t, known, ref)
		assert.Empty(t, got, ref)
	}
}

// A base image that lacks what a binary needs is refused, with a way out.
func TestCheckBase(t *testing.T) {
	dynamic := func(floor string, needed ...string) manifest.Binary {
		return manifest.Binary{Name: "app", Linkage: "dynamic", GlibcFloor: floor, Needed: needed}
	}
	for _, c := range []struct {
		base, triple string
		binary       manifest.Binary
		says         string
	}{
		{"scratch", musl, manifest.Binary{Linkage: "static"}, ""},
		{"unknown:1", gnu, dynamic("2.99"), ""},
		{"scratch", gnu, dynamic("2.17"), `binary "app" of "x86_64-unknown-linux-gnu" is dynamic, and "scratch" has no loader: release a static target (musl), or set base to an image with the C library`},
		{StaticBase, gnu, dynamic(""), "has no loader"},
		{"alpine:3", gnu, dynamic("2.17"), `needs the C library gnu, and "alpine:3" has musl: set base to an image with gnu`},
		{"alpine:3", musl, dynamic(""), ""},
		{"debian:bookworm", musl, dynamic(""), "needs the C library musl"},
		{"debian:bookworm", gnu, dynamic("2.36"), ""},
		{"debian:bookworm", gnu, dynamic("2.37"), `needs glibc 2.37, and "debian:bookworm" has 2.36: build against an older glibc, or set base to a newer image`},
		{"debian:bookworm", gnu, dynamic(""), ""},
		{"debian:bookworm", gnu, dynamic("2.17", "libpq.so.5"), ""}, // its libraries are unknown
		{GlibcBase, gnu, dynamic("2.36", "libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"), ""},
		{GlibcBase, gnu, dynamic("2.17", "libc.so.6", "libpq.so.5"), `needs the library "libpq.so.5", and "gcr.io/distroless/cc-debian12:nonroot" does not have it: link it statically, or set base to an image that has it`},
		{"gcr.io/distroless/base-nossl-debian12", gnu, dynamic("", "libssl.so.3"), `needs the library "libssl.so.3"`},
	} {
		known, err := target.Lookup(c.triple)
		require.NoError(t, err)
		err = checkBase(c.base, known, c.binary)
		if c.says == "" {
			assert.NoError(t, err, "%+v", c)
			continue
		}
		assert.ErrorIs(t, err, ErrBase)
		assert.ErrorContains(t, err, c.says)
	}
}

func TestBaseFor(t *testing.T) {
	for _, c := range []struct{ linkage, libc, want string }{
		{"static", "musl", StaticBase}, {"static", "gnu", StaticBase}, {"dynamic", "gnu", GlibcBase}, {"dynamic", "musl", ""}, {"unknown", "gnu", ""},
	} {
		got, err := baseFor(c.linkage, c.libc)
		assert.Equal(t, c.want, got)
		if c.want == "" {
			assert.ErrorIs(t, err, ErrBase)
			assert.ErrorContains(t, err, "there is no default for a "+c.linkage)
		} else {
			assert.NoError(t, err)
		}
	}
}

// The archive and the base of a platform, and why.
func TestWhyChosen(t *testing.T) {
	dynamic := func(m *manifest.Manifest, triple string) {
		for i := range m.Assets {
			if m.Assets[i].Target == triple {
				m.Assets[i].Binaries[0].Linkage, m.Assets[i].Binaries[0].GlibcFloor = "dynamic", "2.17"
			}
		}
	}
	why := func(image *manifest.Image, spoil string, triples ...string) []string {
		t.Helper()
		m := release(t, image, []string{"app", "tool"}, triples...)
		dynamic(m, spoil)
		choices, err := Choose(m)
		require.NoError(t, err)
		var all []string
		for _, c := range choices {
			all = append(all, c.Platform+" "+c.Target+" "+c.Linkage+" "+c.Base+" "+c.Why)
		}
		return all
	}
	assert.Equal(t, []string{
		"linux/amd64 " + musl + " static " + StaticBase + " static binaries, before those that need a loader; the default base for them",
		"linux/arm64 " + arm + " static " + StaticBase + " static binaries, the platform's only archive; the default base for them",
	}, why(nil, gnu, arm, gnu, musl))
	assert.Equal(t, []string{"linux/amd64 " + gnu + " dynamic " + GlibcBase + " dynamic binaries, the platform's only archive; the default base for them"}, why(nil, gnu, gnu))
	assert.Equal(t, []string{"linux/amd64 " + gnu + " static debian:bookworm static binaries, before those that need a loader; the configured base"},
		why(&manifest.Image{Base: "debian:bookworm", Platforms: []string{"linux/amd64"}}, "", musl, arm, gnu), "the first by triple")
	m := release(t, nil, []string{"app"}, gnu, "aarch64-unknown-linux-gnu")
	dynamic(m, gnu)
	m.Assets[0].Binaries[0].Needed = []string{"libpq.so.5"}
	_, err := Choose(m)
	assert.ErrorContains(t, err, `platform "linux/amd64": `)
	assert.ErrorContains(t, err, "libpq.so.5")
	m = release(t, nil, []string{"app"}, musl)
	m.Assets[0].Binaries[0].Linkage = "dynamic"
	_, err = Choose(m)
	assert.ErrorContains(t, err, "there is no default")
	m = release(t, &manifest.Image{Platforms: []string{"linux/s390x"}}, []string{"app"}, musl, arm)
	_, err = Choose(m)
	assert.ErrorContains(t, err, `no archive for platform "linux/s390x", only for linux/amd64, linux/arm64: `)
}

// Files of an image that would be in each other's way.
func TestItemsThatClash(t *testing.T) {
	m := release(t, nil, []string{"app"}, musl)
	clash := func(include map[string]string) error {
		_, err := Items(m.Assets[0], include)
		return err
	}
	assert.ErrorContains(t, clash(map[string]string{"LICENSE": "/usr/local/bin/app"}), `go to "/usr/local/bin/app": move one of them`)
	assert.ErrorContains(t, clash(map[string]string{"LICENSE": "/etc/x", "config/app.toml": "/etc/x/app.toml"}), `below the file that`)
	assert.ErrorContains(t, clash(map[string]string{"LICENSE": "/etc/.wh.passwd"}), `would delete a file in a layer instead of adding one`)
	assert.ErrorContains(t, clash(map[string]string{"LICENSE": "/etc/.wh.dir/x"}), "would delete a file")
	assert.NoError(t, clash(map[string]string{"LICENSE": "/etc/wh.passwd", "config/run.sh": "/etc/wh.passwd2"}))
	assert.ErrorContains(t, clash(map[string]string{"LICENCE": "/etc/x"}), `did you mean "LICENSE"?`)
	assert.Equal(t, []string{"app-1.2.3-" + musl + "/app", "app-1.2.3-" + musl + "/LICENSE", "app-1.2.3-" + musl + "/config/app.toml", "app-1.2.3-" + musl + "/config/run.sh"}, Paths(m.Assets[0]))
	assert.Equal(t, "app-1.2.3-"+musl+"/", rootOf(m.Assets[0]))
	for _, other := range []string{"README", "other/README"} {
		a := m.Assets[0]
		a.Files = append(append([]manifest.File{}, a.Files...), manifest.File{Path: other})
		assert.Empty(t, rootOf(a), other)
	}
}

// Addresses and references that no registry accepts.
func TestAddresses(t *testing.T) {
	for address, says := range map[string]string{
		"ghcr.io/o/app": "", "localhost/app": "", "registry.example.com:5000/app": "", "localhost:5000/app": "",
		"owner/app": `names no registry: write it like "ghcr.io/owner/app"`, "app": "names no registry", "/owner/app": `"ghcr.io/owner/app"`,
		"ghcr.io/o/app:1": "is not one to push to", "localhost/App": "is not one to push to", "https://ghcr.io/o/app": "is not one to push to",
	} {
		err := checkRepository(address)
		if says == "" {
			assert.NoError(t, err, address)
		} else {
			assert.ErrorContains(t, err, says, address)
		}
	}
	for ref, fits := range map[string]bool{
		"scratch": true, "debian:bookworm": true, "ghcr.io/o/a@sha256:" + strings.Repeat("0", 64): true, "UPPER": false, "a:b:c": false, "http://x/y": false,
	} {
		assert.Equal(t, fits, checkReference(ref) == nil, ref)
	}
	for ref, want := range map[string]string{"scratch": "", "a:b:c": "", "debian": "index.docker.io", "gcr.io/a/b": "gcr.io", "localhost:5000/a": "localhost:5000"} {
		assert.Equal(t, want, RegistryOf(ref), ref)
	}
	for base, bare := range map[string]bool{
		"": true, "scratch": true, StaticBase: true, GlibcBase: true, "gcr.io/distroless/static": true, "gcr.io/distroless/static@sha256:00": true,
		"gcr.io/distroless/base-nossl-debian12": true, "gcr.io/distroless/static-debian12:debug-nonroot": false, "gcr.io/distroless/base-debian12": false, "debian:bookworm": false,
	} {
		assert.Equal(t, bare, isBare(base), base)
	}
}

// Programs and users that the image is known not to have.
func TestProgramsAndUsers(t *testing.T) {
	places := map[string]bool{"/usr/local/bin/app": true, "/opt/tool/run": true}
	for _, c := range []struct {
		spec    manifest.Image
		program string
		says    string
	}{
		{manifest.Image{}, "app", ""}, {manifest.Image{}, "/usr/local/bin/app", ""}, {manifest.Image{}, "/usr/local/bin/../bin/app", ""},
		{manifest.Image{Workdir: "/opt"}, "tool/run", ""}, {manifest.Image{}, "opt/tool/run", ""}, {manifest.Image{Workdir: "/opt"}, "./tool/run", ""},
		{manifest.Image{Env: map[string]string{"PATH": "/opt/tool"}}, "run", ""}, {manifest.Image{Base: "debian:bookworm"}, "sh", ""},
		{manifest.Image{}, "run", `entrypoint "run" is not in the image; did you mean "/opt/tool/run"?: name a file of the archives`},
		{manifest.Image{}, "/usr/local/bin/ap", `did you mean "/usr/local/bin/app"?`},
		{manifest.Image{}, "/usr/local/bin/server", "; binaries are in /usr/local/bin"},
		{manifest.Image{Workdir: "/srv"}, "tool/run", "is not in the image"},
	} {
		err := checkProgram(c.spec, c.program, places)
		if c.says == "" {
			assert.NoError(t, err, "%+v", c)
		} else {
			assert.ErrorContains(t, err, c.says)
		}
	}
	for _, c := range []struct {
		base, user string
		fits       bool
	}{
		{"", "", true}, {"", "65532", true}, {"", "65532:65532", true}, {"", "nonroot", true}, {"", "nonroot:tty", true}, {"", "app", false}, {"", "65532:app", false},
		{"scratch", "nonroot", false}, {"scratch", "1000:1000", true}, {"scratch", "0:nonroot", false}, {"debian:bookworm", "app", true},
	} {
		assert.Equal(t, c.fits, checkUser(manifest.Image{Base: c.base, User: c.user}, nil) == nil, "%+v", c)
	}
	assert.NoError(t, checkUser(manifest.Image{User: "app:app"}, map[string]bool{"/etc/passwd": true, "/etc/group": true}))
	assert.Error(t, checkUser(manifest.Image{User: "app:app"}, map[string]bool{"/etc/passwd": true}))
	assert.Error(t, checkUser(manifest.Image{User: "app:app"}, map[string]bool{"/etc/group": true}))
	assert.NoError(t, checkPlatform(manifest.Image{}, "linux/s390x"))
	assert.NoError(t, checkPlatform(manifest.Image{Base: "x"}, "linux/riscv64"))
	assert.ErrorContains(t, checkPlatform(manifest.Image{}, "linux/riscv64"), `the default base images have no platform "linux/riscv64"`)
}

// Check reports every reason at once.
func TestCheckReportsAll(t *testing.T) {
	m := release(t, &manifest.Image{Repositories: []string{"owner/app"}, Base: "a:b:c", User: "somebody", Include: map[string]string{"none": "/etc/x"}, Entrypoint: []string{"x"}}, []string{"app"}, musl)
	m.Image.Base = ""
	err := Check(m)
	for _, says := range []string{"names no registry", `include "none" is not in archive`, `entrypoint "x" is not in the image`, `no user "somebody"`} {
		assert.ErrorContains(t, err, says)
	}
	m.Image.Base = "UPPER/case"
	assert.ErrorContains(t, Check(m), "is not an image reference")
	m = release(t, nil, []string{"app"}, "x86_64-pc-windows-gnu")
	assert.ErrorContains(t, Check(m), "has no archive for Linux")
	assert.NoError(t, Check(release(t, nil, []string{"app"}, musl)))
}

// The smoke test: what starts, and what must be printed.
func TestSmokeTest(t *testing.T) {
	of := func(smoke *manifest.Smoke) SmokeTest {
		t.Helper()
		test, err := SmokeTestOf(&manifest.Manifest{Version: "1.2.3", Image: &manifest.Image{Smoke: smoke}})
		require.NoError(t, err)
		return test
	}
	_, err := SmokeTestOf(&manifest.Manifest{Version: "one"})
	require.Error(t, err)
	plain, err := SmokeTestOf(&manifest.Manifest{Version: "1.2.3"})
	require.NoError(t, err)
	for _, test := range []SmokeTest{plain, of(nil), of(&manifest.Smoke{})} {
		assert.Equal(t, []string{"--version"}, test.Args)
		assert.False(t, test.Skip)
		assert.NoError(t, test.Check("app 1.2.3\n"))
		assert.ErrorContains(t, test.Check("app 1.2.3-rc.1"), "does not name version 1.2.3")
		assert.EqualError(t, test.Check(" app 1.2.4\n"), `"--version" printed "app 1.2.4", which does not name version 1.2.3: fix the program, or set smoke.args and smoke.expect in [package.metadata.gantry.image]`)
	}
	// A program without --version only has to run, unless its test is configured.
	for _, output := range []string{"Hello, world!\n", "", "listening on 127.0.0.1:80", "app 1.2"} {
		assert.NoError(t, plain.Check(output), output)
		assert.ErrorContains(t, of(&manifest.Smoke{}).Check(output), "does not name version 1.2.3", output)
	}
	custom := of(&manifest.Smoke{Args: []string{"check", "-q"}, Expect: "fine", Skip: true})
	assert.Equal(t, []string{"check", "-q"}, custom.Args)
	assert.True(t, custom.Skip)
	assert.NoError(t, custom.Check("all is fine"))
	assert.EqualError(t, custom.Check("1.2.3"), `"check -q" printed "1.2.3", which does not contain "fine": fix the program, or smoke.expect in [package.metadata.gantry.image]`)
	assert.ErrorContains(t, custom.Check(strings.Repeat("x", 201)), `"`+strings.Repeat("x", 200)+`…"`)
	assert.ErrorContains(t, custom.Check(strings.Repeat("x", 200)), `"`+strings.Repeat("x", 200)+`"`)
}
