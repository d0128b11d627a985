package cargo

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRelative(t *testing.T) {
	m := &Workspace{Root: "/src/rust"}
	for abs, want := range map[string]string{
		"/src/rust": ".", "/src/rust/a/b": "a/b", "/src": "..", "/src/other": "../other", "/elsewhere": "../../elsewhere", "/src/rusty": "../rusty",
	} {
		assert.Equal(t, want, m.Relative(abs), abs)
	}
	dir, err := m.DirIn("/src/rust")
	require.NoError(t, err)
	assert.Equal(t, ".", dir)
	_, err = m.DirIn("/src/ru")
	assert.Error(t, err)
}
