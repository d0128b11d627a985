// Package changelog makes changelogs with git-cliff, in its container.
//
// It is a container graph; which tags and paths count is decided by ci/plan.
// It keeps one invariant: the text depends on the commit, the tag and the
// configuration alone, never on the day or on the network.
package changelog

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"dagger/gantry/ci/plan"
	"dagger/gantry/internal/dagger"
)

// Image of git-cliff.
const Image = "docker.io/orhunp/git-cliff:2.14.2"

// configPath of git-cliff, in its container.
const configPath = "/gantry/cliff.toml"

//go:embed cliff.toml
var defaultConfig string

// Options say what part of the history is wanted.
type Options struct {
	// NotesOnly leaves all but the section of the tag itself out.
	NotesOnly bool
}

// Make the changelog of a plan from the source's history.
func Make(client *dagger.Client, source *dagger.Directory, p *plan.Plan, opts Options) (*dagger.File, error) {
	if p.Commit == "" {
		return nil, fmt.Errorf("make the changelog of %q: %w", p.Tag, p.Err())
	}
	ctr := client.Container().From(Image)
	if p.ChangelogConfig != "" {
		ctr = ctr.WithFile(configPath, source.File(p.ChangelogConfig))
	} else {
		ctr = ctr.WithNewFile(configPath, defaultConfig)
	}
	// A tag that is named with --tag is dated with the time of now, so it is made
	// where it does not exist yet, and not named. The other tags of a section are
	// hidden by leaving them out of the pattern: of several tags on a commit,
	// git-cliff sees one alone.
	const tag = `ref=/gantry/repository/.git/refs/tags/$1; mkdir -p "${ref%/*}"; echo "$2" >"$ref"; shift 2; exec "$@"`
	args := []string{
		"env", "GANTRY_REPOSITORY=" + p.Repository, "GANTRY_TAG_PREFIX=" + p.TagPrefix(),
		"sh", "-euc", tag, "tag", p.Tag, p.Commit,
		"git-cliff", "--config", configPath, "--repository", "/gantry/repository", "--workdir", "/gantry/repository",
		"--offline", "--tag-pattern", alternatives(p.Releases), "--output", "/gantry/CHANGELOG.md",
	}
	for _, glob := range p.ChangelogPaths {
		args = append(args, "--include-path", glob)
	}
	if opts.NotesOnly {
		args = append(args, "--strip", "all")
		if p.PreviousTag != "" {
			args = append(args, p.PreviousTag+".."+p.Commit)
		}
	}
	return ctr.
		WithMountedDirectory("/gantry/repository/.git", source.Directory(".git")).
		WithExec(args).
		File("/gantry/CHANGELOG.md"), nil
}

// alternatives is a regular expression that matches just the names given.
func alternatives(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = regexp.QuoteMeta(n)
	}
	return "^(" + strings.Join(quoted, "|") + ")$"
}
