package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAddFile(t *testing.T) {
	planned := []string{"SHA256SUMS", "app-1.0.0-x86_64-unknown-linux-gnu.tar.gz"}
	all, err := AddFile(planned, "app.service")
	require.NoError(t, err)
	assert.Equal(t, []string{"SHA256SUMS", "app-1.0.0-x86_64-unknown-linux-gnu.tar.gz", "app.service"}, all)
	assert.Len(t, planned, 2)
	for name, want := range map[string]string{
		"app service": "GitHub keeps as it is",
		"sha256sums":  `it has the asset "SHA256SUMS" already`,
		"":            "pass another --name",
		"a/b":         "pass another --name",
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
