package sections

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Job describes a changelog for [Main].
type Job struct {
	// Tag of the release that the changelog is for.
	Tag string `json:"tag"`
	// Releases that have sections, including that of Tag.
	Releases []Release `json:"releases"`
}

// Files that [Main] reads and writes.
const (
	// JobFile has the [Job].
	JobFile = "job.json"
	// ConfigFile is git-cliff's configuration.
	ConfigFile = "cliff.toml"
	// CommitsFile has all commits in one section, as `git-cliff --context` prints
	// them.
	CommitsFile = "commits.json"
	// HistoryDir has the output of history.sh.
	HistoryDir = "history"
	// ChangelogFile and NotesFile are the input of `git-cliff --from-context` for the
	// changelog, and for only the section of the job's tag.
	ChangelogFile = "changelog.json"
	NotesFile     = "notes.json"
)

// Main reads the files in dir and writes the results to out.
func Main(dir, out string) error {
	commits, err := os.Open(filepath.Join(dir, CommitsFile))
	if err != nil {
		return err
	}
	defer commits.Close()
	in, err := read(dir, commits)
	if err != nil {
		return err
	}
	changelog, err := arrange(in)
	if err != nil {
		return fmt.Errorf("divide the changelog of %q: %w", in.job.Tag, err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	notes := slices.DeleteFunc(slices.Clone(changelog), func(r arranged) bool { return r.release["version"] != in.job.Tag })
	for name, releases := range map[string][]arranged{ChangelogFile: changelog, NotesFile: notes} {
		if err := writeContext(filepath.Join(out, name), releases, commits, in.config); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// input of [arrange].
type input struct {
	job     Job
	config  config
	history *history
	// messages of annotated tags, by their names.
	messages map[string]string
	// context has at most one release, with all commits.
	context []arranged
}

// release is a release in git-cliff's format. Unknown fields are kept.
type release map[string]any

func read(dir string, commits io.Reader) (*input, error) {
	texts := map[string]string{}
	for _, name := range []string{JobFile, ConfigFile, HistoryDir + "/commits", HistoryDir + "/tags"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		texts[name] = string(text)
	}
	in := &input{messages: readMessages(texts[HistoryDir+"/tags"])}
	err := json.Unmarshal([]byte(texts[JobFile]), &in.job)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", JobFile, err)
	}
	if in.context, err = readContext(commits); err != nil {
		return nil, fmt.Errorf("read %s: %w", CommitsFile, err)
	}
	if in.config, err = readConfig(texts[ConfigFile]); err != nil {
		return nil, err
	}
	in.history, err = readHistory(texts[HistoryDir+"/commits"])
	return in, err
}

// readMessages reads the type, name and contents of tags. Each ends with a zero
// byte; a newline follows the contents.
func readMessages(text string) map[string]string {
	messages := map[string]string{}
	for fields := strings.Split(text, "\x00"); len(fields) > 3; fields = fields[3:] {
		if strings.TrimPrefix(fields[0], "\n") != "tag" {
			continue // a lightweight tag has the message of its commit
		}
		// Git-cliff removes signatures too.
		message, _, _ := strings.Cut(fields[2], "-----BEGIN ")
		messages[fields[1]] = strings.TrimSpace(message)
	}
	return messages
}

// config has the settings of git-cliff's configuration about sections, which
// git-cliff can't apply to a context.
type config struct {
	// skip matches tags without a section. A tag that ignore matches, or that count
	// doesn't match, begins no section. Each may be nil.
	skip, ignore, count *regexp.Regexp
	// conventional is true if git-cliff parses conventional commits.
	conventional bool
}

func readConfig(text string) (config, error) {
	var file struct {
		Git struct {
			SkipTags     string   `toml:"skip_tags"`
			IgnoreTags   string   `toml:"ignore_tags"`
			CountTags    string   `toml:"count_tags"`
			Conventional *bool    `toml:"conventional_commits"`
			Order        []string `toml:"processing_order"`
		} `toml:"git"`
	}
	if _, err := toml.Decode(text, &file); err != nil {
		return config{}, fmt.Errorf("read git-cliff's configuration: %w", err)
	}
	c := config{conventional: file.Git.Conventional == nil || *file.Git.Conventional}
	if file.Git.Order != nil && !slices.Contains(file.Git.Order, "conventional_commits") {
		c.conventional = false
	}
	for key, pattern := range map[string]struct {
		text string
		into **regexp.Regexp
	}{
		"skip_tags": {file.Git.SkipTags, &c.skip}, "ignore_tags": {file.Git.IgnoreTags, &c.ignore}, "count_tags": {file.Git.CountTags, &c.count},
	} {
		if strings.TrimSpace(pattern.text) == "" {
			continue
		}
		re, err := regexp.Compile(pattern.text)
		if err != nil {
			return config{}, fmt.Errorf("%s = %q in git-cliff's configuration is not a valid Go regular expression: %w", key, pattern.text, err)
		}
		*pattern.into = re
	}
	return c, nil
}

func (c config) skips(tag string) bool { return c.skip != nil && c.skip.MatchString(tag) }

// begins reports whether a tag begins a section; a skipped one does.
func (c config) begins(tag string) bool {
	return c.skips(tag) || (c.count == nil || c.count.MatchString(tag)) && (c.ignore == nil || !c.ignore.MatchString(tag))
}

// arrange arranges the commits in sections, the last release first.
func arrange(in *input) ([]arranged, error) {
	// The released tag always has a section.
	wanted := slices.DeleteFunc(slices.Clone(in.job.Releases), func(r Release) bool {
		return r.Tag != in.job.Tag && !in.config.begins(r.Tag)
	})
	d, err := divide(in.history, wanted)
	if err != nil {
		return nil, err
	}
	if len(in.context) > 1 {
		return nil, fmt.Errorf("git-cliff printed %d sections, not one of all commits", len(in.context))
	}
	commits := map[*section][]commit{}
	base := release{}
	for _, all := range in.context {
		for _, c := range all.commits {
			s := d.of(c.ID)
			if s == nil {
				return nil, fmt.Errorf("git-cliff printed commit %q, which is in no release", c.ID)
			}
			commits[s] = append(commits[s], c)
		}
		base = all.release
	}
	var out []arranged
	for _, s := range slices.Backward(d.sections) {
		if s.Tag != in.job.Tag && in.config.skips(s.Tag) {
			continue
		}
		previous := s.Previous
		for previous != nil && in.config.skips(previous.Tag) {
			previous = previous.Previous
		}
		r := newRelease(base, s, in.messages)
		r["previous"] = newRelease(base, previous, in.messages)
		r["commit_range"] = commitRange(commits[s])
		r["statistics"] = statistics(s, previous, commits[s])
		out = append(out, arranged{r, commits[s]})
	}
	return out, nil
}

// newRelease returns a section in git-cliff's format, without commits, with other
// fields from base. A nil section is the one before the first.
func newRelease(base release, s *section, messages map[string]string) release {
	r := release{
		"version": nil, "message": nil, "commits": []any{}, "commit_id": nil, "timestamp": nil, "previous": nil,
		"repository": base["repository"], "commit_range": nil, "submodule_commits": map[string]any{}, "statistics": nil,
		"extra": nil, "bump_type": nil,
	}
	// Git-cliff requires those of its build features.
	for _, host := range []string{"github", "gitlab", "gitea", "bitbucket", "azure_devops"} {
		r[host] = map[string]any{"contributors": []any{}}
	}
	for key, value := range base {
		if _, known := r[key]; !known {
			r[key] = value
		}
	}
	if s == nil {
		return r
	}
	r["version"], r["commit_id"], r["timestamp"] = s.Tag, s.Commit, s.Time
	// A template can't separate the prefix from the version of a tag.
	r["extra"] = map[string]any{"version": s.Version}
	if message, annotated := messages[s.Tag]; annotated {
		r["message"] = message
	}
	return r
}
