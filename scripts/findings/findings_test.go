package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/survey.md anew")

const root = "../.."

// put writes files into a new directory.
func put(t *testing.T, files map[string]string) evidence {
	t.Helper()
	directory := t.TempDir()
	for name, text := range files {
		path := filepath.Join(directory, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return evidence(directory)
}

// built returns the evidence of a program whose targets were all built and answer.
func built() map[string]string {
	files := map[string]string{"plan.json": `{"problems": [{"severity": "warning", "message": "the repository has no tags"}]}`, "plan.seconds": "9\n", "build.log": "done\n", "build.seconds": "300\n"}
	for _, target := range targets {
		files["run/"+target+"/app"] = "ELF"
		files["said/"+target+"@app"] = "app 1.2.3\nfeatures: none\n"
		files["said/"+target+"@app.stderr"] = ""
	}
	return files
}

func TestJudge(t *testing.T) {
	musl := "aarch64-unknown-linux-musl"
	for name, c := range map[string]struct {
		change         func(files map[string]string)
		class          Class
		planned        bool
		built, started int
		reason         string
	}{
		"all is well": {func(map[string]string) {}, Started, true, 4, 4, ""},
		"only planned": {func(files map[string]string) {
			delete(files, "build.log")
			delete(files, "build.seconds")
		}, Planned, true, 0, 0, ""},
		"no plan": {func(files map[string]string) {
			delete(files, "plan.json")
			files["plan.log"] = "1 : connect\nError: no package of the workspace has a binary to release [traceparent:12-34]\n"
		}, NoProgram, false, 0, 0, "no package of the workspace has a binary to release"},
		"half a plan": {func(files map[string]string) {
			files["plan.json"], files["plan.log"] = `{"problems": [`, "killed\n"
		}, Gantry, false, 0, 0, "killed"},
		"a problem": {func(files map[string]string) {
			files["plan.json"] = `{"problems": [{"severity": "warning", "message": "x"}, {"severity": "error", "message": "Cargo.lock is missing, so the build is not repeatable: run cargo generate-lockfile and commit it"}]}`
		}, Lock, false, 0, 0, "Cargo.lock is missing"},
		"too slow": {func(files map[string]string) { files["timeout"] = "60 min\n" }, Time, true, 0, 0, "not finished in 60 min"},
		"one target fails": {func(files map[string]string) {
			delete(files, "run/"+musl+"/app")
			files["build.log"] = "Error: x\n"
			files["build-"+musl+".log"] = "Error: build target \"aarch64-unknown-linux-musl\": exit status 101:\nerror: failed to run custom build command for `tree-sitter v0.1.0`\nDebian has no C++ compiler for musl: remove the musl targets from targets\n"
		}, Needs, true, 3, 3, "Debian has no C++ compiler for musl"},
		"the release fails, and each target has no log": {func(files map[string]string) {
			for _, target := range targets {
				delete(files, "run/"+target+"/app")
			}
			files["build.log"] = "Error: something new\n"
		}, Gantry, true, 0, 0, "something new"},
		"a fault of Gantry goes first": {func(files map[string]string) {
			files["said/x86_64-unknown-linux-gnu@app"] = "usage: app FILE\n"
			files["said/"+musl+"@app"] = ""
			files["said/"+musl+"@app.stderr"] = "app: error while loading shared libraries: libssl.so.3: wrong ELF class\n"
		}, Gantry, true, 4, 2, "app does not start: app: error while loading shared libraries"},
		"a library is missing": {func(files map[string]string) {
			files["said/"+musl+"@app"] = ""
			files["said/"+musl+"@app.stderr"] = "app: error while loading shared libraries: libssl.so.3: cannot open shared object file: No such file or directory\n"
		}, Needs, true, 4, 3, "app does not start: app: error while loading shared libraries"},
		"a failure of the machine goes before all": {func(files map[string]string) {
			delete(files, "run/"+musl+"/app")
			files["build-"+musl+".log"] = "Error: call constructor: failed to mount /tmp/buildkit-mount1: invalid argument\n"
			files["said/x86_64-unknown-linux-musl@app.stderr"] = "app: Exec format error\n"
			files["said/x86_64-unknown-linux-gnu@app"] = "usage: app FILE\n"
		}, Machine, true, 3, 1, "failed to mount"},
	} {
		t.Run(name, func(t *testing.T) {
			files := built()
			c.change(files)
			r := Result{Name: "app", Version: "1.2.3"}
			require.NoError(t, put(t, files).judge(&r))
			assert.Equal(t, c.class, r.Class)
			assert.Equal(t, c.planned, r.Planned)
			assert.Equal(t, 9, r.PlanSeconds)
			assert.Contains(t, r.Reason, c.reason)
			built, started := r.count()
			assert.Equal(t, []int{c.built, c.started}, []int{built, started})
			assert.Contains(t, r.line(), "app 1.2.3: "+string(c.class))
		})
	}
}

func TestJudgeNeedsNumbers(t *testing.T) {
	for _, name := range []string{"plan.seconds", "build.seconds"} {
		files := built()
		files[name] = "soon"
		assert.ErrorContains(t, put(t, files).judge(&Result{}), "soon")
	}
}

func TestErrorOf(t *testing.T) {
	assert.Equal(t, "b\nc", errorOf("Error: a\n12 : \x1b[31mError\x1b[0m: x\n\x1b[1mError: b\x1b[0m [traceparent:c12-34]\nc\n\n"))
	assert.Equal(t, strings.Repeat("x\n", 9)+"end", errorOf(strings.Repeat("x\n", 20)+"end\n"))
}

func TestClassifyAnswers(t *testing.T) {
	one := func(name, text string) map[string]string { return map[string]string{name: text} }
	assert.Nil(t, ClassifyAnswers("1.2.3", one("app", "app 1.2.3"), nil, ""))
	assert.Nil(t, ClassifyAnswers("1.2.3", map[string]string{"app": "app 1.2.3", "app-mangen": ""}, nil, ""), "one program is enough")
	assert.Equal(t, &Finding{Class: Version, Reason: "app --version prints: error: unexpected argument"},
		ClassifyAnswers("1.2.3", one("app", "\n"), one("app", "error: unexpected argument\nusage\n"), ""))
	assert.Equal(t, &Finding{Class: Gantry, Reason: "b does not start: exec b: Exec format error"},
		ClassifyAnswers("1.2.3", map[string]string{"a": "1.2.3", "b": ""}, one("b", "exec b: Exec format error\n"), ""))
	assert.Equal(t, Gantry, ClassifyAnswers("1.2.3", nil, nil, "").Class)

	// Gantry must have warned of a library that is missing.
	missing := one("app", "app: error while loading shared libraries: libssl.so.3: cannot open shared object file: No such file or directory\n")
	reason := "app does not start: app: error while loading shared libraries: libssl.so.3: cannot open shared object file: No such file or directory"
	for log, hinted := range map[string]bool{
		"": false, "needs libssl.so.30, which not every system has": false, "needs libcrypto.so.3, which not every system has": false,
		`binary "app" of target "x" needs libssl.so.3, which not every system has: link`:                             true,
		`binary "app" of target "x" needs libz.so.1 and libssl.so.3 and libx.so.1, which not every system has: link`: true,
	} {
		assert.Equal(t, &Finding{Class: Needs, Reason: reason, Hinted: hinted}, ClassifyAnswers("1.2.3", one("app", ""), missing, log), log)
	}
}

func TestList(t *testing.T) {
	list, err := readList(filepath.Join(root, "scripts/survey.list"))
	require.NoError(t, err)
	require.Len(t, list, 50)
	names := map[string]bool{}
	withoutLock := false
	for i, e := range list {
		assert.False(t, names[e.Name], "%s is there twice", e.Name)
		names[e.Name] = true
		v, err := semver.StrictNewVersion(e.Version)
		require.NoError(t, err, e.Name)
		assert.Empty(t, v.Prerelease(), e.Name)
		withoutLock = withoutLock || e.Packages == 0
		assert.Equal(t, withoutLock, e.Packages == 0, "%s: those without a Cargo.lock come last", e.Name)
		if i > 0 && !withoutLock {
			assert.LessOrEqual(t, list[i-1].Packages, e.Packages, "%s: the smallest come first", e.Name)
		}
	}
}

func TestListThatIsWrong(t *testing.T) {
	for _, text := range []string{"app 1.0.0\n", "app 1.0.0 many\n"} {
		_, err := readList(filepath.Join(string(put(t, map[string]string{"list": text})), "list"))
		assert.ErrorContains(t, err, strings.TrimSpace(text))
	}
}

// The page has the results that are committed, and no failure is Gantry's.
func TestPage(t *testing.T) {
	list, err := readList(filepath.Join(root, "scripts/survey.list"))
	require.NoError(t, err)
	results, err := read(filepath.Join(root, "docs/survey.json"), list)
	require.NoError(t, err)
	path := filepath.Join(root, "docs/survey.md")
	if *update {
		require.NoError(t, writePage(path, list, results))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	want, err := page(string(text), list, results)
	require.NoError(t, err)
	assert.Equal(t, want, string(text), "the page is older than docs/survey.json: run scripts/survey --table")
	var known []Class
	for _, c := range classes {
		known = append(known, c.Class)
	}
	for name, r := range results {
		assert.Contains(t, known, r.Class, name)
		assert.NotEqual(t, Gantry, r.Class, "%s: %s", name, r.Reason)
		if r.Class == Needs {
			assert.True(t, r.Hinted, "%s got no hint: %s", name, r.Reason)
		}
	}
}

func TestSection(t *testing.T) {
	list := []Entry{{"a", "1.0.0", 3}, {"b", "1.0.0", 5}, {"c", "2.0.0", 0}, {"d", "1.0.0", 9}, {"e", "1.0.0", 10}}
	well := map[string]Target{}
	for _, name := range targets {
		well[name] = Target{Built: true}
	}
	half := map[string]Target{targets[0]: {Built: true}, targets[1]: {Failure: &Finding{Class: Needs}}}
	results := map[string]Result{
		"a": {Planned: true, Targets: well, Date: "2026-12-02", Finding: Finding{Class: Started}},
		"b": {Planned: true, Targets: half, Date: "2026-12-03", Finding: Finding{Class: Needs, Reason: "no `|` " + strings.Repeat("x", 200)}},
		"c": {Date: "2026-12-02", Finding: Finding{Class: Lock, Reason: "Cargo.lock is missing", Hinted: true}},
		"d": {Planned: true, Date: "2026-12-02", Finding: Finding{Class: Time, Reason: "not finished in 60 min"}},
	}
	text := section(list, results)
	assert.Contains(t, text, "5 programs: 3 plan. Of the 3 whose build was tried, 1 build for all targets, and 1 start. Gantry's fault: 0. Missing libraries, programs and settings without the right hint: 1.\n")
	assert.Contains(t, text, "| built and started | 1 |\n")
	assert.Contains(t, text, "| not tried yet | 1 |\n")
	assert.Contains(t, text, "| a 1.0.0 | 3 | yes | 4 | 4 |  | 2026-12-02 |\n")
	assert.Contains(t, text, "| b 1.0.0 | 5 | yes | 1 | 1 | needs a C library, a program or a setting: `no '¦' x")
	assert.Contains(t, text, "| c 2.0.0 | none | no |  |  | published without a Cargo.lock that fits: `Cargo.lock is missing` | 2026-12-02 |\n")
	assert.Contains(t, text, "| e 1.0.0 | 10 |  |  |  |  |  |\n")
	_, err := page("# no results\n", list, results)
	assert.Error(t, err)
}

// A result is recorded, found again, and written into the page; a later plan does not
// replace it.
func TestCommands(t *testing.T) {
	results := filepath.Join(string(put(t, nil)))
	result := filepath.Join(results, "app-1.2.3.json")
	saw := func(files map[string]string) error {
		return run([]string{"record", string(put(t, files)), "app", "1.2.3", "0.1.0", "abc", "2026-12-02", result})
	}
	assert.Error(t, run([]string{"done", result, "0.1.0", "plan"}), "there is none yet")

	failed := built()
	delete(failed, "plan.json")
	failed["plan.log"] = "Error: call constructor: failed to mount /tmp/buildkit-mount574913043: invalid argument\n"
	assert.ErrorIs(t, saw(failed), errMachine)
	assert.NoFileExists(t, result)

	project := put(t, map[string]string{"scripts/survey.list": "# a comment\napp 1.2.3 7\nother 1.0.0 -\n", "docs/survey.md": "# Survey\n\n## Results\n\nold\n"})
	written := func() string {
		require.NoError(t, run([]string{"write", string(project), results}))
		text, _, err := project.text("docs/survey.md")
		require.NoError(t, err)
		return text
	}
	planned := built()
	delete(planned, "build.log")
	require.NoError(t, saw(planned))
	require.NoError(t, run([]string{"done", result, "0.1.0", "plan"}))
	assert.Error(t, run([]string{"done", result, "0.1.0", "build"}))
	assert.Contains(t, written(), "| app 1.2.3 | 7 | yes |  |  |  | 2026-12-02 |\n| other 1.0.0 | none |")

	require.NoError(t, saw(built()))
	require.NoError(t, run([]string{"done", result, "0.1.0", "build"}))
	assert.Error(t, run([]string{"done", result, "0.2.0", "build"}), "another version of Gantry")
	text := written()
	assert.Contains(t, text, "| app 1.2.3 | 7 | yes | 4 | 4 |  | 2026-12-02 |\n")
	assert.NotContains(t, text, "old")

	require.NoError(t, saw(planned))
	assert.Equal(t, text, written())
	assert.Error(t, run([]string{"plan"}))
}
