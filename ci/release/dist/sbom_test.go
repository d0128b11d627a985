package dist

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
)

// A bill of materials has one serial number for the same bytes, a reference for each
// crate, and the repository if it is known.
func TestBillOfMaterials(t *testing.T) {
	packed := manifest.Asset{Name: "app.tar.gz", SHA256: "00ff", Target: amd}
	crates := []cargo.Crate{{Name: "serde", Version: "1.0.0", PURL: "pkg:cargo/serde@1.0.0"}, {Name: "local", Version: "0.1.0", Linked: true}}
	bom := billOfMaterials(&manifest.Manifest{Component: "app", Repository: "https://github.com/o/r"}, packed, crates)
	assert.Regexp(t, `^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, bom.SerialNumber)
	assert.Equal(t, "urn:uuid:c46ea698-3785-8109-9a31-7a96546c4d89", bom.SerialNumber)
	require.NotNil(t, bom.Metadata.Component.ExternalReferences)
	assert.Equal(t, []cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: "https://github.com/o/r"}}, *bom.Metadata.Component.ExternalReferences)
	assert.Equal(t, "pkg:cargo/serde@1.0.0", (*bom.Components)[0].BOMRef)
	assert.Equal(t, "local@0.1.0", (*bom.Components)[1].BOMRef)
	assert.Equal(t, cdx.ScopeExcluded, (*bom.Components)[0].Scope, "it only runs while building")
	assert.Equal(t, cdx.ScopeRequired, (*bom.Components)[1].Scope)

	other := billOfMaterials(&manifest.Manifest{Component: "app"}, manifest.Asset{Name: "app.tar.gz", SHA256: "00fe"}, nil)
	assert.NotEqual(t, bom.SerialNumber, other.SerialNumber)
	assert.Nil(t, other.Metadata.Component.ExternalReferences)
}

// The graph leads from the archive and from each binary to all crates.
func TestGraphOfABill(t *testing.T) {
	packed := manifest.Asset{Name: "suite.tar.gz", SHA256: "00ff", Binaries: []manifest.Binary{{Path: "suite/a", Package: "a"}, {Path: "suite/b", Package: "b"}, {Path: "suite/bb", Package: "b"}}}
	crates := []cargo.Crate{
		{Name: "a", Version: "1.0.0", Root: true, Linked: true, Dependencies: []int{2, 3}},
		{Name: "b", Version: "2.0.0", Root: true, Linked: true, Dependencies: []int{3}},
		{Name: "log", Version: "0.3.0", PURL: "pkg:cargo/log@0.3.0", Linked: true, Dependencies: []int{3}},
		{Name: "log", Version: "0.4.0", PURL: "pkg:cargo/log@0.4.0", Linked: true},
	}
	bom := billOfMaterials(&manifest.Manifest{Component: "suite"}, packed, crates)
	require.NotNil(t, bom.Dependencies)
	got := map[string][]string{}
	for _, d := range *bom.Dependencies {
		require.NotNil(t, d.Dependencies, d.Ref)
		assert.NotContains(t, got, d.Ref)
		got[d.Ref] = *d.Dependencies
	}
	assert.Equal(t, map[string][]string{
		"suite.tar.gz": {"a@1.0.0", "b@2.0.0"}, "suite/a": {"a@1.0.0"}, "suite/b": {"b@2.0.0"}, "suite/bb": {"b@2.0.0"},
		"a@1.0.0": {"pkg:cargo/log@0.3.0", "pkg:cargo/log@0.4.0"}, "b@2.0.0": {"pkg:cargo/log@0.4.0"},
		"pkg:cargo/log@0.3.0": {"pkg:cargo/log@0.4.0"}, "pkg:cargo/log@0.4.0": {},
	}, got)
}

// The smoke test of an image, by the output of a native run.
func TestSmokeOfARun(t *testing.T) {
	test, err := imagespec.SmokeTestOf(&manifest.Manifest{Version: "1.2.3"})
	require.NoError(t, err)
	for run, says := range map[string]string{
		"app 1.2.3\nexit status 0\n": "",
		"app 1.2.4\nexit status 0\n": "does not name version 1.2.3",
		"app 1.2.3\nexit status 1\n": "ended with exit status 1",
		"exit status 124\n":          "did not end within 10 seconds",
		"app 1.2.3":                  `it did not run: the output is "app 1.2.3"`,
		"":                           "it did not run",
	} {
		err := smoke(test, run)
		if says == "" {
			assert.NoError(t, err, run)
		} else {
			assert.ErrorContains(t, err, says, run)
		}
	}
}

// Without an image configuration, phase 2 decides: the project may want no image.
func TestNoImageIsNoProblem(t *testing.T) {
	assert.NoError(t, CheckImage(&manifest.Manifest{}))
}

func TestPartsOfABill(t *testing.T) {
	assert.Nil(t, licensesOf(""))
	assert.Equal(t, &cdx.Licenses{{Expression: "MIT OR Apache-2.0"}}, licensesOf("MIT OR Apache-2.0"))
	assert.Equal(t, &cdx.Licenses{{License: &cdx.License{Name: "see LICENSE"}}}, licensesOf("see LICENSE"), "it is no expression")
	assert.Nil(t, hashes(""))
	assert.Equal(t, &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: "00ff"}}, hashes("00ff"))
	rustc := tool("rustc 1.96.0 (abc 2026-01-01)")
	assert.Equal(t, "rustc", rustc.Name)
	assert.Equal(t, "1.96.0", rustc.Version)
	assert.Empty(t, tool("custom").Version)
}

// What a release can't read or write is an error, never an empty file.
func TestFilesThatCannotBeReadOrWritten(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := hashing(archive.Entry{Open: func() (io.ReadCloser, error) { return nil, broken }}, new(string)).Open()
	assert.ErrorIs(t, err, broken)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = copyFile(file, filepath.Join(file, "below"), manifest.KindFile)
	assert.Error(t, err)

	in := input(t, binaries(t), amd)
	in.Manifest.Image = &manifest.Image{}
	in.Targets[0].Binaries[0].Run = filepath.Join(t.TempDir(), "none")
	_, err = Assemble(t.TempDir(), in, quiet(t))
	assert.ErrorContains(t, err, "none")
}

// A part whose copy of an asset is damaged is refused, though another part has it whole.
func TestMergeReadsEveryCopy(t *testing.T) {
	in := input(t, binaries(t), amd)
	parts := t.TempDir()
	for _, name := range []string{"one", "two"} {
		require.NoError(t, os.Rename(assemble(t, in), filepath.Join(parts, name)))
	}
	_, err := Merge(t.Context(), parts, t.TempDir())
	require.NoError(t, err)
	damaged := filepath.Join(parts, "two", manifest.ChangelogName)
	require.NoError(t, os.WriteFile(damaged, []byte("# Changelog!\n"), 0o600))
	_, err = Merge(t.Context(), parts, t.TempDir())
	assert.ErrorContains(t, err, manifest.ChangelogName)
}
