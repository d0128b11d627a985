package copytest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// copied is a source and its copy.
type copied struct {
	t            *testing.T
	dir          string
	source, copy string
	// content identifies that of the source, or is empty.
	content string
}

func newCopied(t *testing.T) *copied {
	t.Helper()
	dir := t.TempDir()
	c := &copied{t: t, dir: dir, source: filepath.Join(dir, "source"), copy: filepath.Join(dir, "src")}
	for _, d := range []string{c.source, c.copy, filepath.Join(dir, "bin")} {
		require.NoError(t, os.MkdirAll(d, 0o755))
	}
	program, err := exec.LookPath("sha256sum")
	require.NoError(t, err)
	counting := "#!/bin/sh\nprintf '%s\\n' \"$@\" >>" + filepath.Join(dir, "hashed.$$") + "\nexec " + program + " \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", "sha256sum"), []byte(counting), 0o755))
	return c
}

// write a file of the source, or of the copy, with a time that says nothing.
func (c *copied) write(in, name, text string) {
	c.t.Helper()
	path := filepath.Join(in, name)
	require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(c.t, os.WriteFile(path, []byte(text), 0o644))
	old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(c.t, os.Chtimes(path, old, old))
}

// update the copy, and return how many files were hashed for it.
func (c *copied) update() int {
	c.t.Helper()
	script := `set -eu; tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT; . ./copy.sh; copy_source "$@"`
	cmd := exec.CommandContext(c.t.Context(), "sh", "-c", script, "sh", c.source, c.copy, c.copy+".record", c.content)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(c.dir, "bin")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	require.NoError(c.t, err, "%s", out)
	assert.Equal(c.t, tree(c.t, c.source), tree(c.t, c.copy), "the copy is not the source: %s", out)
	logs, err := filepath.Glob(filepath.Join(c.dir, "hashed.*"))
	require.NoError(c.t, err)
	hashed := 0
	for _, log := range logs {
		text, err := os.ReadFile(log)
		require.NoError(c.t, err)
		hashed += strings.Count(string(text), "\n")
		require.NoError(c.t, os.Remove(log))
	}
	return hashed
}

// settle makes the files of the copy older than their record, as they are after a build
// that takes some seconds: those of the same second are never trusted.
func (c *copied) settle() {
	c.t.Helper()
	time.Sleep(2100 * time.Millisecond)
	c.update()
}

// tree describes each file and link of a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			files[name], err = os.Readlink(path)
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		files[name] = fmt.Sprintf("%t %s", info.Mode()&0o100 != 0, text)
		return err
	}))
	return files
}

// modified returns when a file of the copy was modified last, as Cargo sees it.
func (c *copied) modified(name string) time.Time {
	c.t.Helper()
	info, err := os.Stat(filepath.Join(c.copy, name))
	require.NoError(c.t, err)
	return info.ModTime()
}

// An update reads only what may differ: nothing that is new, nothing of the copy once it
// was read, and nothing at all of the same source.
func TestReadsOnlyWhatMayDiffer(t *testing.T) {
	t.Parallel()
	const files = 1000
	c := newCopied(t)
	for i := range files {
		c.write(c.source, fmt.Sprintf("data/%d/part %d", i%10, i), fmt.Sprintf("%04d", i))
	}
	assert.Zero(t, c.update(), "a file that is new is not hashed")
	c.settle()
	assert.Equal(t, files, c.update(), "the source may be another, but the copy was not written since")

	c.content = "sha256:one"
	assert.Equal(t, files, c.update(), "the content is not that of the last source")
	assert.Zero(t, c.update(), "the source is the same")

	c.content = "sha256:two"
	before := c.modified("data/0/part 0")
	c.write(c.source, "data/1/part 1", "edit")
	c.write(c.source, "data/2/part 2", "of another size")
	start := time.Now()
	assert.Equal(t, files-1, c.update(), "the size tells of one")
	assert.WithinRange(t, c.modified("data/1/part 1"), start.Add(-time.Second), time.Now().Add(time.Second))
	assert.Equal(t, before, c.modified("data/0/part 0"), "Cargo would compile it again")

	c.settle()
	assert.Zero(t, c.update())
	c.write(c.copy, "data/3/part 3", "made")
	hashed := c.update()
	assert.Positive(t, hashed)
	assert.LessOrEqual(t, hashed, 2, "of the same source, only what a build wrote is read")
}

// Whatever builds and people do, the copy becomes the source.
func TestCopyIsTheSource(t *testing.T) {
	t.Parallel()
	write := func(in func(*copied) string, name, text string) func(*testing.T, *copied) {
		return func(_ *testing.T, c *copied) { c.write(in(c), name, text) }
	}
	remove := func(in func(*copied) string, name string) func(*testing.T, *copied) {
		return func(t *testing.T, c *copied) { require.NoError(t, os.RemoveAll(filepath.Join(in(c), name))) }
	}
	source, built := func(c *copied) string { return c.source }, func(c *copied) string { return c.copy }
	for name, change := range map[string]func(*testing.T, *copied){
		"another content of the same size and time": write(source, "src/main.rs", "other"),
		"a new file that is empty":                  write(source, "src/empty.rs", ""),
		"a file is removed":                         remove(source, "src/ÄÖ.rs"),
		"a link is removed":                         remove(source, "link"),
		"a file is executable": func(t *testing.T, c *copied) {
			require.NoError(t, os.Chmod(filepath.Join(c.source, "run.sh"), 0o755))
		},
		"a directory becomes a file": func(t *testing.T, c *copied) {
			require.NoError(t, os.RemoveAll(filepath.Join(c.source, "src")))
			c.write(c.source, "src", "file")
		},
		"a build writes a file":       write(built, "src/a b.rs", "wrote"),
		"a build makes a file":        write(built, "src/generated.rs", "made"),
		"a build removes a file":      remove(built, "Cargo.toml"),
		"a build removes a link":      remove(built, "link"),
		"a build removes a directory": remove(built, "src"),
		"a build replaces a file": func(t *testing.T, c *copied) {
			c.write(c.copy, "new", "swaps")
			require.NoError(t, os.Rename(filepath.Join(c.copy, "new"), filepath.Join(c.copy, "-n")))
		},
		"a copy that was interrupted": func(t *testing.T, c *copied) {
			require.NoError(t, os.Remove(c.copy+".record"))
			c.write(c.copy, "-n", "trunc")
		},
		"a record without a line": func(t *testing.T, c *copied) {
			require.NoError(t, os.WriteFile(c.copy+".record", nil, 0o644))
		},
	} {
		// A change of the source always changes what identifies its content.
		for _, content := range []string{"", "sha256:one"} {
			t.Run(name+" "+content, func(t *testing.T) {
				t.Parallel()
				c := newCopied(t)
				for _, name := range []string{"Cargo.toml", "src/main.rs", "src/a b.rs", "src/ÄÖ.rs", "-n", "run.sh"} {
					c.write(c.source, name, "first")
				}
				require.NoError(t, os.Symlink("src/main.rs", filepath.Join(c.source, "link")))
				c.content = content
				c.update()
				c.settle()
				before := tree(t, c.source)
				change(t, c)
				if content != "" && fmt.Sprint(before) != fmt.Sprint(tree(t, c.source)) {
					c.content = "sha256:two"
				}
				c.update()
			})
		}
	}
}
