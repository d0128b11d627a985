package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// count returns how many spans of a trace have one of the names.
func (tr *trace) count(names ...string) int {
	n := 0
	for _, name := range tr.names {
		if slices.Contains(names, name) {
			n++
		}
	}
	return n
}

// An unchanged call sends no file and reads none, however large the source is. After an
// edit, only what may differ is read.
func TestLargeSourceIsReadOnce(t *testing.T) {
	const files = 400
	dir := tiny(t, "")
	unique := fmt.Sprint(time.Now().UnixNano())
	for i := range files {
		write(t, dir, map[string]string{fmt.Sprintf("data/%d", i): fmt.Sprintf("%04d %s", i, unique)})
	}
	// What a developer's own builds leave is not part of the source.
	write(t, dir, map[string]string{"target/debug/tiny": "made on this machine\n"})
	run(t, dir, "git", "tag", "-d", "v1.0.0")
	commit(t, dir, "v1.0.0")
	tracked := strings.Count(run(t, dir, "git", "ls-files"), "\n")
	// The engine has a span for each entry of the source of which it received a file.
	uploads := func(tr *trace) int { return tr.count("data", "src", "Cargo.toml", ".git") }
	// Of an upload, it keeps no result of these: it would read or copy all in each session.
	whole := func(tr *trace) int { return tr.count("Directory.filter", "Directory.digest", "Directory.glob") }
	const read = "gantry: read %d files of the source and %d of its last copy; copied %d, removed 0"

	dist := []string{"--source=" + dir, "release", "--tag=v1.0.0", "dist", "--targets=" + native, "entries"}
	first, trace := traced(t, dist...)
	require.NoError(t, first.err)
	assert.Equal(t, 1, trace.count(".git"), "uploads of .git")
	assert.Contains(t, first.log, fmt.Sprintf(read, 0, 0, tracked))
	again, trace := traced(t, dist...)
	require.NoError(t, again.err)
	assert.Equal(t, first.stdout, again.stdout)
	assert.Zero(t, uploads(trace))
	assert.Zero(t, whole(trace))
	assert.NotContains(t, again.log, "gantry: read ", "the build ran again")

	build := []string{"--source=" + dir, "--cache-namespace=" + unique, "build", "--target=" + native, "entries"}
	require.NoError(t, call(t, build...).err)
	again, trace = traced(t, build...)
	require.NoError(t, again.err)
	assert.Zero(t, uploads(trace))
	assert.Zero(t, whole(trace))
	assert.NotContains(t, again.log, "gantry: read ", "the build ran again")

	// The copy of the first build is read once. The edited file has another size.
	for i, inCopy := range []int{tracked - 1, 0} {
		write(t, dir, map[string]string{"src/main.rs": strings.Repeat("// another line\n", i+1) + "fn main() { println!(\"tiny\"); }\n"})
		edited := call(t, build...)
		require.NoError(t, edited.err)
		assert.Contains(t, edited.log, fmt.Sprintf(read, tracked-1, inCopy, 1))
		assert.Len(t, edited.compiled(), 1)
	}
}
