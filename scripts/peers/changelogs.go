package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// generatedCommits is the size of the generated history.
const generatedCommits = 5000

// history is a repository, and the component whose changelog is made.
type history struct {
	dir string
	// tag is that of the component's release; v and the version are a tag of the same
	// commit for tools that know no prefix.
	tag, version string
	// prefix is that of the component's tags, and paths where its files are.
	prefix string
	paths  []string
}

// changelogger is a tool that makes a changelog.
type changelogger struct {
	name string
	// make returns the changelog, newest release first.
	make func(ctx context.Context, h history) (string, error)
}

// changelogs compares changelogs.
func changelogs(ctx context.Context, e *Env) ([]Row, error) {
	g, err := newEngine(e)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	small := history{filepath.Join(e.Work, "sample"), sampleTag, sampleVersion, "tally-", []string{"crates/tally-server", "crates/tally"}}
	large := history{filepath.Join(e.Work, "generated"), historyTag, historyVersion, "alpha-", []string{"crates/alpha"}}
	if err := sample(ctx, e, small.dir); err != nil {
		return nil, err
	}
	e.Log("a history of %d commits", generatedCommits)
	if err := generateHistory(ctx, large.dir, generatedCommits); err != nil {
		return nil, err
	}
	e.Note("Two histories: the sample's, whose tally-server was released as %s; and %d generated commits of two components, plus some of each kind that is asked about. In both, the changelog is that of one component.", sampleTag, generatedCommits)
	e.Note("git-cliff has --include-path and --tag-pattern, and its default configuration. conventional-changelog has the preset conventionalcommits, --commit-path with the component's own directory (it takes one), and a package.json with the version. GoReleaser has the groups and filters of its documentation; only its Pro edition chooses commits by path, and since it knows no tags with a prefix, the commit has a second tag.")
	all := map[string]*changelogResults{}
	for _, t := range []struct {
		name string
		make func(context.Context) (changelogger, error)
	}{
		{Gantry, func(context.Context) (changelogger, error) { return gantryChangelog(g), nil }},
		{"git-cliff", g.gitCliff}, {"conventional-changelog", g.conventional}, {"goreleaser", g.goreleaserChangelog},
	} {
		e.Log("changelogs by %s", t.name)
		c, err := t.make(ctx)
		if err != nil {
			all[t.name] = &changelogResults{missing: err}
			continue
		}
		if all[t.name], err = g.measureChangelogs(ctx, c, small, large); err != nil {
			if !e.tolerated(ctx, t.name, err) {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			all[t.name] = &changelogResults{missing: err}
		}
	}
	return changelogRows(all), nil
}

// gantryChangelog is Gantry's function changelog.
func gantryChangelog(g *engine) changelogger {
	return changelogger{Gantry, func(ctx context.Context, h history) (string, error) {
		file := filepath.Join(g.env.Work, "gantry.md")
		if _, err := g.call(ctx, "--source="+h.dir, "release", "--tag="+h.tag, "changelog", "export", "--path="+file); err != nil {
			return "", err
		}
		text, err := os.ReadFile(file)
		return string(text), err
	}}
}

func (g *engine) gitCliff(ctx context.Context) (changelogger, error) {
	program, _, err := g.env.Tool(ctx, "git-cliff")
	return changelogger{"git-cliff", func(ctx context.Context, h history) (string, error) {
		args := []string{"--tag-pattern", "^" + h.prefix + "[0-9]"}
		for _, p := range h.paths {
			args = append(args, "--include-path", p+"/**")
		}
		return g.run(Command(ctx, h.dir, nil, program, args...))
	}}, err
}

func (g *engine) conventional(ctx context.Context) (changelogger, error) {
	program, _, err := g.env.Tool(ctx, "conventional-changelog")
	return changelogger{"conventional-changelog", func(ctx context.Context, h history) (string, error) {
		pkg := filepath.Join(g.env.Work, "package.json")
		text := fmt.Sprintf(`{"name": "example", "version": %q, "repository": "https://github.com/%s"}`, h.version, sampleRepository)
		if err := os.WriteFile(pkg, []byte(text), 0o644); err != nil {
			return "", err
		}
		return g.run(Command(ctx, h.dir, nil, program, "--preset=conventionalcommits", "--release-count=0", "--stdout", "--pkg="+pkg,
			"--tag-prefix="+h.prefix, "--commit-path="+h.paths[0]))
	}}, err
}

// goreleaserChangelogs is the configuration of changelogs in GoReleaser's documentation.
const goreleaserChangelogs = `version: 2
project_name: example
builds:
  - skip: true
release:
  disable: true
checksum:
  disable: true
changelog:
  use: git
  sort: asc
  groups:
    - title: Features
      regexp: '^.*?feat(\([[:word:]]+\))??!?:.+$'
      order: 0
    - title: Bug fixes
      regexp: '^.*?fix(\([[:word:]]+\))??!?:.+$'
      order: 1
    - title: Others
      order: 999
  filters:
    exclude: ["^docs:", typo]
`

func (g *engine) goreleaserChangelog(ctx context.Context) (changelogger, error) {
	program, _, err := g.env.Tool(ctx, "goreleaser")
	return changelogger{"goreleaser", func(ctx context.Context, h history) (string, error) {
		config := filepath.Join(g.env.Work, "changelogs.yaml")
		if err := os.WriteFile(config, []byte(goreleaserChangelogs), 0o644); err != nil {
			return "", err
		}
		if err := exclude(h.dir, "/dist"); err != nil {
			return "", err
		}
		env := []string{"GORELEASER_CURRENT_TAG=v" + h.version, "GITHUB_TOKEN="}
		if _, err := g.run(Command(ctx, h.dir, env, program, "release", "--clean", "--skip=publish", "--config="+config)); err != nil {
			return "", err
		}
		text, err := os.ReadFile(filepath.Join(h.dir, "dist/CHANGELOG.md"))
		return string(text), err
	}}, err
}

// changelogResults are what is measured of one tool.
type changelogResults struct {
	small, large float64
	foreign      int // commits of the sample's other program
	facts        facts
	note         string
	missing      error
}

// facts are what a changelog of the generated history has.
type facts struct {
	foreign, lacking   int
	breaking           int
	squash, other      bool
	mergeCommit, topic bool
	feature, revertion bool
	// today tells that the text has the date of the day on which it was made.
	today bool
}

// measureChangelogs makes both changelogs. Before each round, the commit changes, so that
// no answer is from a cache.
func (g *engine) measureChangelogs(ctx context.Context, c changelogger, small, large history) (*changelogResults, error) {
	r := &changelogResults{}
	if c.name == Gantry {
		fixed, err := rounds(g.env.Rounds+1, func(int) (float64, error) {
			return seconds(func() error { _, err := g.call(ctx, "module-version"); return err })
		})
		if err != nil {
			return nil, err
		}
		r.note = fmt.Sprintf("In this, %.1f s are what a call of a function that does nothing takes.", fixed)
	}
	measure := func(h history) (took float64, text string, err error) {
		took, err = rounds(g.env.Rounds, func(i int) (float64, error) {
			if err := commit(ctx, h.dir, fmt.Sprintf("chore: round %d of %s", i, c.name), h.tag, "v"+h.version); err != nil {
				return 0, err
			}
			return seconds(func() error { text, err = c.make(ctx, h); return err })
		})
		return took, text, err
	}
	var text string
	var err error
	if r.small, text, err = measure(small); err != nil {
		return nil, err
	}
	r.foreign = strings.Count(text, "choose the format of a summary") + strings.Count(strings.ToLower(text), "a manual page")
	if r.large, text, err = measure(large); err != nil {
		return nil, err
	}
	r.facts = factsOf(text, generatedCommits)
	r.facts.today = strings.Contains(text, time.Now().Format(time.DateOnly)) // the newest commit is older
	g.env.Log("  %.1f s and %.1f s; %+v", r.small, r.large, r.facts)
	return r, nil
}

var (
	generatedLine = regexp.MustCompile(`(?i)change (\d+) of (alpha|beta)`)
	breakingSign  = regexp.MustCompile(`(?i)breaking|⚠`)
)

// factsOf reads a changelog of the generated history.
func factsOf(text string, commits int) facts {
	var f facts
	seen := map[int]bool{}
	heading, marks := "", map[string]bool{}
	for line := range strings.Lines(text) {
		lower := strings.ToLower(line)
		if strings.HasPrefix(line, "#") {
			heading = line
			continue
		}
		if m := generatedLine.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			if m[2] == "beta" {
				f.foreign++
			}
			seen[n] = true
		}
		for _, subject := range []string{breakingMark, breakingFooter} {
			if strings.Contains(lower, subject) && breakingSign.MatchString(heading+line) {
				marks[subject] = true
			}
		}
		// A footer's text may stand for its subject.
		if strings.Contains(line, "parse_line is parse_entry now") {
			marks[breakingFooter] = true
		}
		isRevert := strings.Contains(lower, "revert")
		f.feature = f.feature || strings.Contains(lower, reverted) && !isRevert && !breakingSign.MatchString(heading) && !strings.Contains(strings.ToLower(heading), "revert")
		f.revertion = f.revertion || strings.Contains(lower, reverted) && (isRevert || strings.Contains(strings.ToLower(heading), "revert"))
		f.squash = f.squash || strings.Contains(lower, squashed) && strings.Contains(line, "#12")
		f.mergeCommit = f.mergeCommit || strings.Contains(lower, strings.ToLower(mergeSubject))
		f.topic = f.topic || strings.Contains(lower, merged)
		f.other = f.other || strings.Contains(lower, strings.ToLower(unconventional))
	}
	f.breaking = len(marks)
	for n := 0; n < commits; n += 2 {
		if kind := n / 2 % 6; kind < 2 && !seen[n] { // feat and fix
			f.lacking++
		}
	}
	return f
}

// changelogRows turns the results into rows.
func changelogRows(all map[string]*changelogResults) []Row {
	row := func(what, unit, better string, within float64, cell func(*changelogResults) Cell) Row {
		return Row{What: what, Unit: unit, Better: better, Within: within, Cells: cellsOf(all, func(r *changelogResults) error { return r.missing }, cell)}
	}
	count := func(n int) Cell { return Number(float64(n)) }
	return []Row{
		row("changelog of the sample's server", "s", Less, 0.05, func(r *changelogResults) Cell { return Number(r.small).With(r.note) }),
		row(fmt.Sprintf("changelog of one of two components, %d commits", generatedCommits), "s", Less, 0.05, func(r *changelogResults) Cell { return Number(r.large).With(r.note) }),
		row("commits of another component listed, of the sample", "", Less, 0, func(r *changelogResults) Cell { return count(r.foreign) }),
		headline(row(fmt.Sprintf("commits of another component listed, of %d", generatedCommits/2), "", Less, 0, func(r *changelogResults) Cell { return count(r.facts.foreign) })),
		row("the component's own features and fixes left out", "", Less, 0, func(r *changelogResults) Cell { return count(r.facts.lacking) }),
		row("breaking changes marked, of 2 (`!` and a footer)", "", More, 0, func(r *changelogResults) Cell { return count(r.facts.breaking) }),
		row("a commit that follows no convention is listed", "", More, 0, func(r *changelogResults) Cell { return yes(r.facts.other) }),
		row("a squashed pull request is listed with its number", "", More, 0, func(r *changelogResults) Cell { return yes(r.facts.squash) }),
		row("a merged branch's commit is listed, and the merge is not", "", More, 0, func(r *changelogResults) Cell { return yes(r.facts.topic && !r.facts.mergeCommit) }),
		row("the text depends on the day on which it is made", "", Less, 0, func(r *changelogResults) Cell { return yes(r.facts.today) }),
		headline(row("a feature that was reverted", "", More, 0, func(r *changelogResults) Cell { return revertedCell(r.facts) })),
	}
}

// revertedCell tells what a reader sees of a feature that was taken back.
func revertedCell(f facts) Cell {
	switch {
	case f.feature && f.revertion:
		return Graded(1, "listed, and its revert")
	case f.feature:
		return Graded(0, "listed as if it were there")
	case f.revertion:
		return Graded(1, "only the revert is listed")
	}
	return Graded(1, "not listed")
}
