package sections

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// story is a line of six commits: a tag at 1, two at 2, one at 4, and one that
// is released at 5. Git-cliff lists all but 2, which changes other paths.
func story(t *testing.T, config string) (in map[string]string) {
	t.Helper()
	job, err := json.Marshal(Job{Tag: "v1.3.0", Releases: []Release{
		tagAt("1.0.0", 1), tagAt("1.1.0", 2), {Tag: "old-1.1.1", Version: "1.1.1", Commit: id(2)}, tagAt("1.2.0", 4), tagAt("1.3.0", 5),
	}})
	require.NoError(t, err)
	var history, commits []string
	const day = 24 * 60 * 60
	for c := 5; c >= 0; c-- {
		parent := ""
		if c > 0 {
			parent = " " + id(c-1)
		}
		history = append(history, fmt.Sprintf("%d %s%s\n", 100+c*day, id(c), parent))
		if c != 2 {
			commits = append(commits, fmt.Sprintf(`{"id": %q, "raw_message": "fix: number %d", "conventional": %t, "new_field": 7,
				"committer": {"timestamp": %d}, "links": [{"text": "#%d", "href": "https://x/1"}]}`, id(c), c, c != 4, 100+c*day, c/4))
		}
	}
	return map[string]string{
		JobFile:    string(job),
		ConfigFile: config,
		CommitsFile: fmt.Sprintf(`[{"version": null, "repository": "/r", "submodule_commits": {}, "new_host": {}, "statistics": {"commit_count": 5},
			"commits": [%s]}]`, strings.Join(commits, ",")),
		HistoryDir + "/commits": strings.Join(history, ""),
		HistoryDir + "/tags": "commit\x00v1.0.0\x00Not of the tag\n\x00\n" +
			"tag\x00v1.2.0\x00Second\n\nWith more.\n-----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----\n\x00\n",
	}
}

// run Main, and return what it made: the changelog and the notes.
func run(t *testing.T, in map[string]string) (changelog, notes []release) {
	t.Helper()
	out := t.TempDir()
	require.NoError(t, Main(files(t, in), out))
	for name, into := range map[string]*[]release{ChangelogFile: &changelog, NotesFile: &notes} {
		text, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, into))
	}
	return changelog, notes
}

func files(t *testing.T, in map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range in {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

// outline of releases: a line for each, with the version that the title shows,
// the tag that it is compared with, and the numbers of its commits.
func outline(t *testing.T, releases []release) []string {
	t.Helper()
	var lines []string
	for _, r := range releases {
		previous, _ := r["previous"].(map[string]any)
		require.NotNil(t, previous, "git-cliff's own have one")
		line := fmt.Sprintf("%v %v %v:", r["version"], r["extra"].(map[string]any)["version"], previous["version"])
		for _, c := range r["commits"].([]any) {
			line += " " + strings.TrimLeft(c.(map[string]any)["id"].(string), "0")
		}
		lines = append(lines, line)
	}
	return lines
}

func TestSections(t *testing.T) {
	changelog, notes := run(t, story(t, ""))
	assert.Equal(t, []string{
		"v1.3.0 1.3.0 v1.2.0: 5",
		"v1.2.0 1.2.0 old-1.1.1: 4 3",
		"old-1.1.1 1.1.1 v1.1.0:",
		"v1.1.0 1.1.0 v1.0.0:",
		"v1.0.0 1.0.0 <nil>: 1 ",
	}, outline(t, changelog), "each release has a section, although the filter of paths hides one's commit and two are at it")
	assert.Equal(t, changelog[:1], notes)

	second := changelog[1]
	assert.Equal(t, "Second\n\nWith more.", second["message"])
	assert.Nil(t, changelog[4]["message"], "a lightweight tag has none")
	assert.Equal(t, id(4), second["commit_id"])
	assert.EqualValues(t, 100+4*24*60*60, second["timestamp"])
	assert.Equal(t, map[string]any{"from": id(3), "to": id(4)}, second["commit_range"])
	assert.Equal(t, map[string]any{
		"commit_count": 2.0, "conventional_commit_count": 1.0, "commits_timespan": 1.0, "days_passed_since_last_release": 2.0,
		"links": []any{
			map[string]any{"text": "#0", "href": "https://x/1", "count": 1.0},
			map[string]any{"text": "#1", "href": "https://x/1", "count": 1.0},
		},
	}, second["statistics"])
	assert.Equal(t, "/r", second["repository"])
	assert.Equal(t, map[string]any{}, second["new_host"], "what another version of git-cliff wants")
	commit := second["commits"].([]any)[0].(map[string]any)
	assert.Equal(t, 7.0, commit["new_field"])
	assert.Equal(t, "fix: number 4", commit["raw_message"])
	assert.Equal(t, map[string]any{"contributors": []any{}}, second["github"])
	assert.NotContains(t, changelog[4]["statistics"], "days_passed_since_last_release", "a first release")
}

// What git-cliff's configuration says of tags holds, except of the tag that is
// released.
func TestConfiguredTags(t *testing.T) {
	for config, want := range map[string][]string{
		`skip_tags = "v1\\.2|v1\\.3"`:      {"v1.3.0 1.3.0 old-1.1.1: 5", "old-1.1.1 1.1.1 v1.1.0:", "v1.1.0 1.1.0 v1.0.0:", "v1.0.0 1.0.0 <nil>: 1 "},
		`ignore_tags = "1\\.[123]"`:        {"v1.3.0 1.3.0 v1.0.0: 5 4 3", "v1.0.0 1.0.0 <nil>: 1 "},
		`count_tags = "^v1\\.[13]"`:        {"v1.3.0 1.3.0 v1.1.0: 5 4 3", "v1.1.0 1.1.0 <nil>: 1 "},
		"skip_tags = \"\"\nignore_tags=''": outline(t, first(run(t, story(t, "")))),
	} {
		changelog, _ := run(t, story(t, "[git]\n"+config))
		assert.Equal(t, want, outline(t, changelog), config)
	}
	in := story(t, "[git]\nskip_tags = '(?=v)'")
	assert.ErrorContains(t, Main(files(t, in), t.TempDir()), `skip_tags = "(?=v)" in git-cliff's configuration is not a valid Go regular expression`)
	in[ConfigFile] = "[git"
	assert.ErrorContains(t, Main(files(t, in), t.TempDir()), "read git-cliff's configuration")
}

func first(changelog, _ []release) []release { return changelog }

// Where commits are not read as conventional ones, they stay as they are.
func TestUnconventional(t *testing.T) {
	for config, want := range map[string]string{
		"conventional_commits = false":                                            " fix: number 5",
		"conventional_commits = true":                                             "fix: number 5",
		"processing_order = ['commit_parsers']":                                   " fix: number 5",
		"processing_order = ['conventional_commits']":                             "fix: number 5",
		"processing_order = ['conventional_commits']\nconventional_commits=false": " fix: number 5",
	} {
		changelog, _ := run(t, story(t, "[git]\n"+config))
		assert.Equal(t, want, changelog[0]["commits"].([]any)[0].(map[string]any)["raw_message"], config)
	}
}

// A component without a commit has its sections all the same.
func TestNoCommits(t *testing.T) {
	in := story(t, "")
	in[CommitsFile] = `[{"commits": null}]`
	changelog, _ := run(t, in)
	require.Len(t, changelog, 5)
	in[CommitsFile] = "[]"
	changelog, notes := run(t, in)
	require.Len(t, changelog, 5)
	assert.Equal(t, "v1.3.0 1.3.0 v1.2.0:", outline(t, notes)[0])
	for _, key := range []string{"commits", "submodule_commits", "github", "gitlab", "gitea", "bitbucket", "azure_devops", "repository"} {
		assert.Contains(t, changelog[0], key, "git-cliff refuses a context without")
	}
}

func TestMainRefuses(t *testing.T) {
	for what, change := range map[string]map[string]string{
		"2 sections":            {CommitsFile: "[{}, {}]"},
		"in no release":         {CommitsFile: `[{"commits": [{"id": "unknown"}]}]`},
		"read " + JobFile:       {JobFile: "{"},
		"unexpected EOF":        {CommitsFile: `[{"commits": [{"id": "x"}`},
		"{ in the place of [":   {CommitsFile: `{"commits": []}`},
		"[ in the place of {":   {CommitsFile: `[[]]`},
		"read " + CommitsFile:   {CommitsFile: ""},
		"is missing: the repo":  {HistoryDir + "/commits": "1 " + id(5) + " " + id(4) + "\n"},
		"not in the history of": {HistoryDir + "/commits": "1 " + id(5) + "\n"},
	} {
		in := story(t, "")
		maps.Copy(in, change)
		assert.ErrorContains(t, Main(files(t, in), t.TempDir()), what)
	}
}
