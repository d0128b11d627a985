package cargo

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadTree(t *testing.T) {
	got, err := readTree("0\ta v1.0.0-rc.1+x (/with space/a (b))\tMIT\thttps://example.org\t\r\n1\tb v0.1.0 (proc-macro)\t\t\t\n2\tc v1.0.0\t\t\t\n1\tc v1.0.0\t\t\t\n\n" +
		"0\tb v0.1.0 (proc-macro)\t\t\t (*)\n")
	require.NoError(t, err)
	assert.Equal(t, &tree{
		packages: []treePackage{
			{Name: "a", Version: "1.0.0-rc.1+x", Source: "/with space/a (b)", License: "MIT", Repository: "https://example.org"},
			{Name: "b", Version: "0.1.0"}, {Name: "c", Version: "1.0.0"},
		},
		dependencies: [][]int{{1, 2}, {2}, nil},
		roots:        []int{0, 1},
	}, got)
	empty, err := readTree("")
	require.NoError(t, err)
	assert.Equal(t, &tree{}, empty)
	for _, wrong := range []string{"0\ta\t\t\t", "0\ta v1.0.0\t\t", "99999999999999999999\ta v1.0.0\t\t\t", "0\ta v1.0.0\t\t\t\n2\tb v1.0.0\t\t\t"} {
		_, err := readTree(wrong)
		assert.ErrorContains(t, err, "read the output of cargo tree", wrong)
	}
}
