package archive

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/notation"
)

func TestSumsAreWhatSha256sumChecks(t *testing.T) {
	dir := t.TempDir()
	sums := Sums{}
	for name, content := range map[string]string{"b.zip": "b", "a b.tar.gz": "", "ünï": "u", "-x": "x"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
		require.NoError(t, sums.Add(name, digest([]byte(content))))
	}
	text, err := sums.Format()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "SHA256SUMS"), text, 0o644))

	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = dir
	out, err := check.CombinedOutput()
	assert.NoError(t, err, string(out))

	// Without a locale, the shell sorts by byte as well.
	write := exec.Command("sh", "-c", "rm SHA256SUMS; LC_ALL=C sha256sum -- *")
	write.Dir = dir
	theirs, err := write.Output()
	require.NoError(t, err)
	assert.Equal(t, string(theirs), string(text))

	parsed, err := ParseSums(text)
	require.NoError(t, err)
	assert.Equal(t, sums, parsed)
}

func TestSumsWithoutNames(t *testing.T) {
	text, err := Sums{}.Format()
	require.NoError(t, err)
	assert.Empty(t, text)
	parsed, err := ParseSums(nil)
	require.NoError(t, err)
	assert.Empty(t, parsed)
}

func TestSumsRefuse(t *testing.T) {
	a := strings.Repeat("a", 64)
	for name, test := range map[string]struct{ text, want string }{
		"cut off":             {a + "  x", "line 1: no line feed at its end"},
		"one space":           {a + " x\n", "line 1:"},
		"three spaces":        {a + "   x\n", "line 1: unsafe path"},
		"binary mode":         {a + " *x\n", "line 1:"},
		"BSD notation":        {"SHA256 (x) = " + a + "\n", "line 1:"},
		"carriage return":     {a + "  x\r\n", "control character"},
		"empty line":          {a + "  x\n\n", "line 2:"},
		"comment":             {"# x\n", "line 1:"},
		"a page":              {"<!DOCTYPE html>\n", "line 1:"},
		"upper case":          {strings.ToUpper(a) + "  x\n", "is not 64 lower-case"},
		"short":               {a[1:] + "  x\n", "is not 64 lower-case"},
		"not hexadecimal":     {strings.Repeat("g", 64) + "  x\n", "is not 64 lower-case"},
		"escaped":             {`\` + a + `  a\nb` + "\n", "unsafe path"},
		"path":                {a + "  a/b\n", "it has a slash"},
		"no name":             {a + "  \n", "it is not the name of a file"},
		"parent":              {a + "  ..\n", "it is not the name of a file"},
		"name twice":          {a + "  x\n" + a + "  x\n", `line 2: duplicate path "x"`},
		"not sorted":          {a + "  y\n" + a + "  x\n", `line 2: "x" comes after "y"`},
		"name with a newline": {a + "  x\x00\n", "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseSums([]byte(test.text))
			assert.ErrorContains(t, err, "parse checksums: ")
			assert.ErrorContains(t, err, test.want)
		})
	}

	sums := Sums{}
	assert.ErrorIs(t, sums.Add("a\nb", a), notation.ErrUnsafePath)
	assert.ErrorContains(t, sums.Add("a", "sha256:"+a), "64 lower-case")
	require.NoError(t, sums.Add("a", a))
	assert.ErrorIs(t, sums.Add("a", a), ErrDuplicate)
	_, err := Sums{`a\b`: a}.Format()
	assert.ErrorIs(t, err, notation.ErrUnsafePath)
}

// What ParseSums accepts, Format writes byte for byte.
func FuzzParseSums(f *testing.F) {
	a := strings.Repeat("a", 64)
	f.Add([]byte(""))
	f.Add([]byte(a + "  x\n" + a + "  y z\n"))
	f.Add([]byte(a + " *x\n"))
	f.Add([]byte(`\` + a + "  x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		sums, err := ParseSums(text)
		if err != nil {
			return
		}
		written, err := sums.Format()
		require.NoError(t, err)
		require.Equal(t, string(text), string(written))
	})
}
