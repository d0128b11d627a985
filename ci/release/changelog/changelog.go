// Package changelog makes changelogs: git-cliff reads and prints the commits, and
// ci/release/changelog/sections decides which release each belongs to.
//
// It is a container graph; ci/release/plan decides which tags and paths count. It
// keeps one invariant: the text depends only on the commit, the tags and the
// configuration, never on the date or the network.
package changelog

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"dagger/gantry/ci/release/changelog/sections"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/internal/dagger"
)

// image has git-cliff.
const image = "docker.io/orhunp/git-cliff:2.14.2"

// SectionsCommand is the argument that makes the module's program divide commits
// into sections, instead of serving functions.
const SectionsCommand = "gantry-sections"

// Places in the containers.
const (
	dir        = "/gantry/changelog"
	out        = "/gantry/sections"
	repository = "/gantry/repository"
)

var (
	//go:embed cliff.toml
	defaultConfig string
	//go:embed history.sh
	historyScript string
)

// SectionsMain runs [SectionsCommand].
func SectionsMain() error { return sections.Main(dir, out) }

// Options select a part of the changelog.
type Options struct {
	// NotesOnly selects the section of the tag, without header and footer.
	NotesOnly bool
}

// Tools to make a changelog with, in addition to git-cliff.
type Tools struct {
	// Git is a container that has git and a shell.
	Git *dagger.Container
	// Program is a container that has the module's program, and Command runs it
	// there.
	Program *dagger.Container
	Command []string
}

// Make makes the changelog of a plan from the source's history, its .git.
func Make(client *dagger.Client, source, git *dagger.Directory, p *plan.Plan, tools Tools, opts Options) (*dagger.File, error) {
	if p.Commit == "" {
		return nil, fmt.Errorf("make the changelog of %q: %w", p.Tag, p.Err())
	}
	job := sections.Job{Tag: p.Tag}
	for _, r := range p.Sections {
		job.Releases = append(job.Releases, sections.Release(r))
	}
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	cliff := client.Container().From(image)
	if p.ChangelogConfig != "" {
		cliff = cliff.WithFile(dir+"/"+sections.ConfigFile, source.File(p.ChangelogConfig))
	} else {
		cliff = cliff.WithNewFile(dir+"/"+sections.ConfigFile, defaultConfig)
	}
	config := cliff.File(dir + "/" + sections.ConfigFile)
	args := []string{"env", "GANTRY_REPOSITORY=" + p.Repository, "git-cliff", "--offline", "--config", dir + "/" + sections.ConfigFile}

	history := tools.Git.
		WithNewFile("/gantry/history.sh", historyScript).
		WithMountedDirectory(repository+"/.git", git).
		WithWorkdir(repository).
		WithExec([]string{"sh", "/gantry/history.sh", p.Commit, out}).
		Directory(out)

	divided := tools.Program.
		WithMountedFile(dir+"/"+sections.ConfigFile, config).
		WithMountedFile(dir+"/"+sections.CommitsFile, commits(cliff, git, args, p)).
		WithMountedDirectory(dir+"/"+sections.HistoryDir, history).
		// In a file, since an argument has no room for thousands of tags.
		WithNewFile(dir+"/"+sections.JobFile, string(text)).
		WithExec(slices.Concat(tools.Command, []string{SectionsCommand})).
		Directory(out)

	context := sections.ChangelogFile
	if opts.NotesOnly {
		context = sections.NotesFile
		args = append(args, "--strip", "all")
	}
	// Git-cliff reads a file byte by byte, each with a system call of its own, but its
	// standard input in blocks.
	return cliff.
		WithMountedFile(dir+"/"+context, divided.File(context)).
		WithExec(append(args, "--from-context", "-", "--output", dir+"/CHANGELOG.md"), dagger.ContainerWithExecOpts{RedirectStdin: dir + "/" + context}).
		File(dir + "/CHANGELOG.md"), nil
}

// commits lists the commits with git-cliff, in one section: no tag matches.
func commits(cliff *dagger.Container, git *dagger.Directory, args []string, p *plan.Plan) *dagger.File {
	list := slices.Concat(args, []string{"--repository", repository, "--tag-pattern", "^$", "--context", "--output", out + "/" + sections.CommitsFile})
	for _, glob := range p.ChangelogPaths {
		list = append(list, "--include-path", glob)
	}
	return cliff.
		WithMountedDirectory(repository+"/.git", git).
		// Where git-cliff keeps which files each commit changed: thousands of small files,
		// which nothing reads again.
		WithMountedTemp(repository+"/.git/git-cliff-core").
		WithNewFile(out+"/"+sections.CommitsFile, "[]").
		WithExec(append(list, p.Commit)).
		File(out + "/" + sections.CommitsFile)
}
