package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const planted = `package planted

import (
	"errors"
	"strings"
)

var limit = 3

// Size is tested.
func Size(s string) (string, error) {
	if len(s) > limit {
		return "", errors.New("too long")
	}
	switch s {
	case "a", "b":
		return "letter", nil
	case "":
		return "nothing", nil
	}
	return "text" + s, nil
}

// Larger returns the larger number: for equal ones, either.
func Larger(a, b int) int {
	if a > b {
		return a
	}
	return b
}

// Loop ends.
func Loop(n int) (m int) {
	for i := 0; i < n; i++ {
		m++
	}
	return m
}

// Untested is.
func Untested(s string) bool { return strings.HasPrefix(s, "x") && true }
`

const plantedTest = `package planted

import "testing"

func TestSize(t *testing.T) {
	for s, want := range map[string]string{"a": "letter", "b": "letter", "": "nothing", "abc": "textabc"} {
		if got, err := Size(s); got != want || err != nil {
			t.Errorf("%q: %q %v", s, got, err)
		}
	}
	if _, err := Size("abcd"); err == nil {
		t.Error("no error")
	}
}

func TestLarger(t *testing.T) {
	if Larger(1, 2) != 2 || Larger(2, 1) != 2 || Larger(2, 2) != 2 {
		t.Error("not larger")
	}
}

func TestLoop(t *testing.T) {
	if Loop(3) != 3 {
		t.Error("not 3")
	}
}
`

// plant makes a repository with one package.
func plant(t *testing.T) Options {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module planted\n\ngo 1.25\n", "ci/x/x.go": planted, "ci/x/x_test.go": plantedTest,
		"equivalent.txt": "# The list.\nci/x/x.go Larger boundary: a > b → a >= b\n  Both\n  are equal.\n",
	} {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return Options{Root: root, Cache: filepath.Join(root, "cache"), Equivalent: filepath.Join(root, "equivalent.txt"), Packages: []string{"ci/x"}, All: true, Seed: 1, Jobs: 1, Min: 95}
}

// The tool on a package whose mutants' fates are known.
func TestFates(t *testing.T) {
	o := plant(t)
	before, err := os.ReadFile(filepath.Join(o.Root, "ci/x/x.go"))
	require.NoError(t, err)
	var out bytes.Buffer
	err = run(context.Background(), o, &out)
	require.ErrorContains(t, err, "below 95.0 %")
	report := out.String()

	fates := map[string]string{}
	for line := range strings.Lines(report) {
		fate, rest, found := strings.Cut(strings.TrimSpace(line), " ")
		_, key, isResult := strings.Cut(rest, "ci/x/x.go ")
		if found && isResult && slices.Contains([]string{Killed, Survived, Judged}, fate) {
			key, _, _ = strings.Cut(key, "  [")
			fates[strings.TrimSpace(key)] = fate
		}
	}
	for key, want := range map[string]string{
		"Size negated: len(s) > limit → !(len(s) > limit)":                                        Killed,
		"Size boundary: len(s) > limit → len(s) >= limit":                                         Killed,
		"Size never: len(s) > limit → false && (len(s) > limit)":                                  Killed,
		`Size no error: return "", errors.New("too long")`:                                        Killed,
		`Size case dropped: case "a", "b"`:                                                        Killed,
		`Size case dropped: "b" of case "a", "b"`:                                                 Killed,
		`Size case dropped: case ""`:                                                              Killed,
		"Larger boundary: a > b → a >= b":                                                         Judged,
		"Loop arithmetic: m++ → m--":                                                              Killed,
		`Untested string: "x" → "x~"`:                                                             Survived,
		`Untested constant: true → false in return strings.HasPrefix(s, "x") && true`:             Survived,
		`Untested logical: strings.HasPrefix(s, "x") && true → strings.HasPrefix(s, "x") || true`: Survived,
	} {
		assert.Equal(t, want, fates[key], key)
	}
	assert.NotContains(t, strings.Join(strings.Fields(report), " "), "Size arithmetic", "joining strings is no arithmetic")
	assert.Contains(t, report, "no test runs this line")
	assert.Contains(t, report, "ci/x", "a row of the table")
	after, err := os.ReadFile(filepath.Join(o.Root, "ci/x/x.go"))
	require.NoError(t, err)
	assert.Equal(t, before, after, "the tree is not touched")

	// A second run has the same fates, and runs nothing.
	results, err := os.ReadFile(filepath.Join(o.Cache, "results.jsonl"))
	require.NoError(t, err)
	var again bytes.Buffer
	require.Error(t, run(context.Background(), o, &again))
	assert.Equal(t, report, again.String())
	unchanged, err := os.ReadFile(filepath.Join(o.Cache, "results.jsonl"))
	require.NoError(t, err)
	assert.Equal(t, results, unchanged, "nothing was run again")

	// The test's improvement is noticed, and those judged equivalent hold.
	better := plantedTest + "\nfunc TestUntested(t *testing.T) {\n\tif !Untested(\"xy\") || Untested(\"y\") {\n\t\tt.Error(\"wrong\")\n\t}\n}\n"
	require.NoError(t, os.WriteFile(filepath.Join(o.Root, "ci/x/x_test.go"), []byte(better), 0o644))
	o.Trust = true
	require.NoError(t, run(context.Background(), o, &again))
	o.Judge = true
	require.NoError(t, run(context.Background(), o, &again))

	// One that a test notices must not be called equivalent.
	list := "ci/x/x.go Loop arithmetic: m++ → m--\n  Wrong.\n"
	require.NoError(t, os.WriteFile(o.Equivalent, []byte(list), 0o644))
	require.ErrorContains(t, run(context.Background(), o, &again), "remove those")
}

func TestSince(t *testing.T) {
	o := plant(t)
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Dir = o.Root
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	path := filepath.Join(o.Root, "ci/x/x.go")
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(planted, "m++", "m++ // now", 1)), 0o644))
	o.Since, o.List = "HEAD", true
	var out bytes.Buffer
	require.NoError(t, run(context.Background(), o, &out))
	assert.Contains(t, out.String(), "Loop arithmetic")
	assert.NotContains(t, out.String(), "Size")
}

// Every beginning of the order is a fair sample, and the seed decides it.
func TestOrder(t *testing.T) {
	var all []*Mutant
	for function, n := range map[string]int{"Large": 80, "Small": 20} {
		for i := range n {
			all = append(all, &Mutant{File: "x.go", Function: function, Nth: i + 1})
		}
	}
	slices.SortFunc(all, func(a, b *Mutant) int { return strings.Compare(a.Key(), b.Key()) })
	keys := func(list []*Mutant) (keys []string) {
		for _, m := range list {
			keys = append(keys, m.Key())
		}
		return keys
	}
	first := Order(all, 1)
	for n := 5; n <= 100; n += 5 {
		large := 0
		for _, m := range first[:n] {
			if m.Function == "Large" {
				large++
			}
		}
		assert.InDelta(t, 0.8*float64(n), large, 1, "of the first %d", n)
	}
	assert.Equal(t, keys(first), keys(Order(all, 1)))
	assert.NotEqual(t, keys(first), keys(Order(all, 2)))
	assert.ElementsMatch(t, keys(all), keys(first))

	assert.Equal(t, map[string]int{"a": 90, "b": 10, "c": 4}, Shares(map[string]int{"a": 900, "b": 96, "c": 4}, 100, 8))
}

func TestReadEquivalent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	for text, want := range map[string]string{
		"a b c: d\n":                     "has no reason",
		"  why\n":                        "a reason without a mutant",
		"a: b\n  why\n\na: b\n  why\n":   "listed twice",
		"# x\na: b\n  why\n  and how.\n": "",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		list, err := ReadEquivalent(path)
		if want == "" {
			require.NoError(t, err)
			assert.Equal(t, Equivalent{"a: b": "why and how."}, list)
			continue
		}
		assert.ErrorContains(t, err, want)
	}
}

// Each package of the default list has something to change, no two changes
// share a key, and the list of equivalent ones can be read.
func TestDefaultPackages(t *testing.T) {
	_, err := ReadEquivalent("equivalent.txt")
	require.NoError(t, err)
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, pkg := range packages {
		all, err := Find(root, pkg)
		require.NoError(t, err)
		require.NotEmpty(t, all, pkg)
		keys := map[string]bool{}
		for _, m := range all {
			require.False(t, keys[m.Key()], "two changes share a key: %s", m.Key())
			keys[m.Key()] = true
		}
	}
}
