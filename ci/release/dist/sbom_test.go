package dist

import (
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
)

// A bill of materials has one serial number for the same bytes, a reference for each
// crate, and the repository if it is known.
func TestBillOfMaterials(t *testing.T) {
	archive := manifest.Asset{Name: "app.tar.gz", SHA256: "00ff", Target: amd}
	crates := []cargo.Crate{{Name: "serde", Version: "1.0.0", PURL: "pkg:cargo/serde@1.0.0"}, {Name: "local", Version: "0.1.0"}}
	bom := billOfMaterials(&manifest.Manifest{Component: "app", Repository: "https://github.com/o/r"}, archive, crates)
	assert.Regexp(t, `^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, bom.SerialNumber)
	assert.Equal(t, "urn:uuid:c46ea698-3785-8109-9a31-7a96546c4d89", bom.SerialNumber)
	require.NotNil(t, bom.Metadata.Component.ExternalReferences)
	assert.Equal(t, []cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: "https://github.com/o/r"}}, *bom.Metadata.Component.ExternalReferences)
	assert.Equal(t, "pkg:cargo/serde@1.0.0", (*bom.Components)[0].BOMRef)
	assert.Equal(t, "local@0.1.0", (*bom.Components)[1].BOMRef)

	other := billOfMaterials(&manifest.Manifest{Component: "app"}, manifest.Asset{Name: "app.tar.gz", SHA256: "00fe"}, nil)
	assert.NotEqual(t, bom.SerialNumber, other.SerialNumber)
	assert.Nil(t, other.Metadata.Component.ExternalReferences)
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
