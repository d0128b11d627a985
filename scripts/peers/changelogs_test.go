package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The generated history has the commits of both components, and those that are looked for.
func TestGenerateHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	require.NoError(t, generateHistory(t.Context(), dir, 40))
	subjects := func(args ...string) []string {
		out, err := Output(Command(t.Context(), dir, nil, "git", append([]string{"log", "--format=%s", historyTag}, args...)...))
		require.NoError(t, err)
		return strings.Split(out, "\n")
	}
	all, alpha := subjects(), subjects("--", "crates/alpha")
	assert.Len(t, all, 1+40+7+2, "the first commit, the generated ones, those that are looked for, a revert and the release")
	assert.Contains(t, all, mergeSubject)
	assert.Contains(t, alpha, `Revert "feat(alpha): `+reverted+`"`)
	assert.Contains(t, alpha, "feat(alpha): "+squashed+" (#12)")
	assert.Contains(t, alpha, "fix(alpha): "+merged)
	assert.Contains(t, alpha, "feat(alpha): change 0 of alpha")
	for _, s := range alpha {
		assert.NotContains(t, s, "of beta")
	}
	out, err := Output(Command(t.Context(), dir, nil, "git", "tag", "--points-at", "HEAD"))
	require.NoError(t, err)
	assert.Equal(t, historyTag+"\nv"+historyVersion, out)
}

func TestFactsOf(t *testing.T) {
	everything := `# Changelog
## 1.0.0
### Breaking changes
- **alpha:** Drop the old form
- **alpha:** Rename the parser: parse_line is parse_entry now.
### Features
- **alpha:** Change 0 of alpha
- **alpha:** Count the readings (#12)
- **alpha:** Count the gulls
### Fixes
- **alpha:** Change 2 of alpha
- **alpha:** Round the heights
### Other changes
- Tidy up the harbour
- Revert "feat(alpha): count the gulls"
`
	for name, test := range map[string]struct {
		text string
		want facts
	}{
		"everything": {everything, facts{breaking: 2, squash: true, other: true, topic: true, feature: true, revertion: true}},
		"nothing":    {"# Changelog\n", facts{lacking: 2}},
		"of another component": {everything + "- change 1 of beta\n- change 3 of beta\n",
			facts{foreign: 2, breaking: 2, squash: true, other: true, topic: true, feature: true, revertion: true}},
		"breaking changes that are not marked": {"### Features\n- drop the old form\n### Others\n- rename the parser\n", facts{lacking: 2}},
		"one of two, marked in its line":       {"### Features\n- [**breaking**] Drop the old form\n- Rename the parser\n", facts{lacking: 2, breaking: 1}},
		"the merge":                            {"- 123 " + mergeSubject + "\n", facts{lacking: 2, mergeCommit: true}},
		"a revert under its heading":           {"### Reverts\n* feat(alpha): count the gulls\n", facts{lacking: 2, revertion: true}},
		"a feature that was taken back":        {"### Features\n* count the gulls\n", facts{lacking: 2, feature: true}},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, factsOf(test.text, 4)) })
	}
}

func TestRevertedCell(t *testing.T) {
	for f, want := range map[facts]Cell{
		{feature: true}:                  Graded(0, "listed as if it were there"),
		{feature: true, revertion: true}: Graded(1, "listed, and its revert"),
		{revertion: true}:                Graded(1, "only the revert is listed"),
		{}:                               Graded(1, "not listed"),
	} {
		assert.Equal(t, want, revertedCell(f), fmt.Sprintf("%+v", f))
	}
}

func TestChangelogRows(t *testing.T) {
	rows := changelogRows(map[string]*changelogResults{
		Gantry:       {small: 2, large: 5, facts: facts{breaking: 2}},
		"git-cliff":  {small: 0.1, large: 1, foreign: 1, facts: facts{foreign: 3, lacking: 1, breaking: 1}},
		"goreleaser": {missing: assert.AnError},
	})
	verdicts := map[string]Verdict{}
	for _, r := range rows {
		verdicts[r.What] = r.Verdict()
		assert.True(t, r.Cells["goreleaser"].Missing, r.What)
	}
	assert.Equal(t, Behind, verdicts["changelog of the sample's server"])
	assert.Equal(t, Ahead, verdicts["commits of another component listed, of the sample"])
	assert.Equal(t, Ahead, verdicts["the component's own features and fixes left out"])
	assert.Equal(t, Ahead, verdicts["breaking changes marked, of 2 (`!` and a footer)"])
	assert.Equal(t, Equal, verdicts["a commit that follows no convention is listed"])
}
