package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
)

func TestAddFile(t *testing.T) {
	planned := []string{"SHA256SUMS", "app-1.0.0-x86_64-unknown-linux-gnu.tar.gz"}
	all, err := AddFile(planned, "app.service")
	require.NoError(t, err)
	assert.Equal(t, []string{"SHA256SUMS", "app-1.0.0-x86_64-unknown-linux-gnu.tar.gz", "app.service"}, all)
	assert.Len(t, planned, 2)
	for name, want := range map[string]string{
		"app service":              "GitHub keeps as it is",
		"sha256sums":               `it has the asset "SHA256SUMS" already`,
		"":                         "pass another --name",
		"a/b":                      "pass another --name",
		"sha256sums.SIGSTORE.json": "that is the name of its signature, which publish makes with --signing-key",
	} {
		_, err := AddFile(planned, name)
		assert.ErrorContains(t, err, want, name)
	}
}

func TestCheckTarget(t *testing.T) {
	targets := []string{"x86_64-unknown-linux-gnu", "aarch64-apple-darwin"}
	assert.NoError(t, CheckTarget(targets, []string{"x86_64-unknown-linux-gnu"}, "aarch64-apple-darwin"))
	assert.ErrorContains(t, CheckTarget(targets, []string{"aarch64-apple-darwin"}, "aarch64-apple-darwin"), "with-binaries --target=aarch64-apple-darwin appears twice")
	assert.ErrorContains(t, CheckTarget(targets, nil, "x86_64-apple-darwin"), `no target "x86_64-apple-darwin": add it to targets`)
}

func TestAddIf(t *testing.T) {
	names := make([]string, 1, 2)
	assert.Equal(t, names, AddIf(false, names, "b"))
	assert.Equal(t, []string{"", "b"}, AddIf(true, names, "b"))
	assert.Equal(t, []string{"", ""}, names[:2], "the caller's list is left as it is")
}

// Binaries that were built elsewhere have no bills of materials and no licenses, unless
// the project insists.
func TestAddBinaries(t *testing.T) {
	const gnu, mac = "x86_64-unknown-linux-gnu", "aarch64-apple-darwin"
	of := func(more table) *Plan {
		return planOf(t, mustLoad(t, with(table{"targets": []string{gnu, mac}}, more), nil, pkg("app", "1.0.0", ".", nil, "app")), "v1.0.0", clean())
	}
	p := of(table{"auditable": true})
	all := p.Assets
	matrix := p.Matrix()
	require.NoError(t, p.AddBinaries(nil))
	assert.Equal(t, all, p.Assets)
	require.NoError(t, p.AddBinaries([]string{gnu}))
	left := []string{
		"CHANGELOG.md", "SHA256SUMS", "app-1.0.0-aarch64-apple-darwin.cdx.json", "app-1.0.0-aarch64-apple-darwin.spdx.json", "app-1.0.0-aarch64-apple-darwin.tar.gz",
		"app-1.0.0-x86_64-unknown-linux-gnu.tar.gz", "release-manifest.json",
	}
	assert.Equal(t, left, p.Assets)
	for _, target := range p.Targets {
		ours := target.Target == mac
		assert.Equal(t, []bool{ours, ours, ours, false}, []bool{target.SBOM != "", target.SPDX != "", target.Notices, target.Auditable}, target.Target)
	}

	got, err := AddBinaries(all, matrix, gnu)
	require.NoError(t, err)
	assert.Equal(t, left, got)
	assert.Len(t, all, 9, "the caller's list is left as it is")
	_, err = AddBinaries(all, "{", gnu)
	assert.ErrorContains(t, err, "read the targets of the release")

	for key, says := range map[string]string{
		"sbom":    `target "aarch64-apple-darwin": a bill of materials lists what was compiled, which is unknown for binaries that were built elsewhere: remove sbom = true, and only the other targets get it`,
		"notices": "THIRD-PARTY-LICENSES lists what was compiled",
	} {
		p := of(table{key: true})
		require.NoError(t, p.AddBinaries([]string{"x86_64-pc-windows-gnu"}), "it is no target of the plan")
		assert.ErrorContains(t, p.AddBinaries([]string{mac}), says)
		require.NoError(t, of(table{key: false}).AddBinaries([]string{mac}))
	}
}

// Joined programs are compiled by something else, too.
func TestJoinedTargetsHaveNoBills(t *testing.T) {
	p := planOf(t, mustLoad(t, table{"targets": []string{"universal2-apple-darwin"}}, nil, pkg("app", "1.0.0", ".", nil, "app")), "v1.0.0", clean())
	require.NoError(t, p.Err())
	assert.Equal(t, []string{"CHANGELOG.md", "SHA256SUMS", "app-1.0.0-universal2-apple-darwin.tar.gz", "release-manifest.json"}, p.Assets)
	assert.False(t, p.Targets[0].Notices)
	builds, err := p.Builds()
	require.NoError(t, err)
	assert.False(t, builds[0].NeedsCrates())
}

// The project's own file of the name of the licenses wins.
func TestOwnNotices(t *testing.T) {
	for name, ours := range map[string]bool{"THIRD-PARTY-LICENSES": false, "third-party-licenses": false, "THIRD-PARTY-LICENSES/a.txt": false, "THIRD-PARTY-LICENSES.html": true, "docs/THIRD-PARTY-LICENSES": true} {
		p := planOf(t, mustLoad(t, table{"include": []string{name}}, []string{"Cargo.toml", "Cargo.lock", name}, pkg("app", "1.0.0", ".", nil, "app")), "v1.0.0", clean())
		require.NoError(t, p.Err(), name)
		assert.Equal(t, ours, p.Targets[0].Notices, name)
		m := p.skeleton(p.Targets, "static")
		have := slices.ContainsFunc(m.Archives()[0].Files, func(f manifest.File) bool {
			return strings.HasSuffix(f.Path, "/"+NoticesName) && strings.Count(f.Path, "/") == 1
		})
		assert.Equal(t, ours || name == NoticesName, have, name)
	}
	p := planOf(t, mustLoad(t, table{"targets": []string{"x86_64-unknown-linux-gnu"}}, nil, with(pkg("app", "1.0.0", ".", table{"generate": table{NoticesName: []string{"licenses"}}}, "app"), nil)), "v1.0.0", clean())
	require.NoError(t, p.Err())
	assert.False(t, p.Targets[0].Notices, "a binary prints it")
}

func TestAuditable(t *testing.T) {
	of := func(targets ...string) *Plan {
		return planOf(t, mustLoad(t, table{"targets": targets, "auditable": true, "sbom": false, "notices": false}, nil, pkg("app", "1.0.0", ".", nil, "app")), "v1.0.0", clean())
	}
	p := of("x86_64-unknown-linux-gnu", "x86_64-pc-windows-gnu")
	require.NoError(t, p.Err())
	assert.Contains(t, p.Messages(SeverityWarning), "auditable = true only affects ELF programs, not those of x86_64-pc-windows-gnu")
	assert.Equal(t, []bool{true, false}, []bool{p.Targets[0].Auditable, p.Targets[1].Auditable})
	builds, err := p.Builds()
	require.NoError(t, err)
	assert.Equal(t, []bool{true, false}, []bool{builds[0].NeedsCrates(), builds[1].NeedsCrates()})
	assert.ErrorContains(t, of("x86_64-pc-windows-gnu").Err(), "auditable = true adds the list of crates to ELF programs, and no target has one: remove it")
	for _, m := range of("x86_64-unknown-linux-gnu").Messages(SeverityWarning) {
		assert.NotContains(t, m, "auditable")
	}
}
