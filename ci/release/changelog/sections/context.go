package sections

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

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
	in, err := read(dir)
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
	notes := slices.DeleteFunc(slices.Clone(changelog), func(r release) bool { return r["version"] != in.job.Tag })
	for name, releases := range map[string][]release{ChangelogFile: changelog, NotesFile: notes} {
		text, err := json.Marshal(releases)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
			return err
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
	context []release
}

// release is a release in git-cliff's format. Unknown fields are kept.
type release map[string]any

func read(dir string) (*input, error) {
	texts := map[string]string{}
	for _, name := range []string{JobFile, CommitsFile, ConfigFile, HistoryDir + "/commits", HistoryDir + "/tags"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		texts[name] = string(text)
	}
	in := &input{messages: readMessages(texts[HistoryDir+"/tags"])}
	for name, value := range map[string]any{JobFile: &in.job, CommitsFile: &in.context} {
		if err := json.Unmarshal([]byte(texts[name]), value); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	var err error
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
func arrange(in *input) ([]release, error) {
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
	commits := map[*section][]any{}
	base := release{}
	for _, all := range in.context {
		list, _ := all["commits"].([]any)
		for _, commit := range list {
			fields, _ := commit.(map[string]any)
			id, _ := fields["id"].(string)
			s := d.of(id)
			if s == nil {
				return nil, fmt.Errorf("git-cliff printed commit %q, which is in no release", id)
			}
			if !in.config.conventional {
				keepUnconventional(fields)
			}
			commits[s] = append(commits[s], fields)
		}
		base = all
	}
	var out []release
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
		r["commits"] = append([]any{}, commits[s]...)
		r["commit_range"] = commitRange(commits[s])
		r["statistics"] = statistics(s, previous, commits[s])
		out = append(out, r)
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

// keepUnconventional makes git-cliff keep the message of a commit. From a context,
// it parses every commit that it can as a conventional one, whatever its
// configuration; a message that begins with a space never is.
func keepUnconventional(commit map[string]any) {
	if raw, found := commit["raw_message"].(string); found {
		commit["raw_message"] = " " + raw
	}
}

// commitRange returns the first and the last of the commits.
func commitRange(commits []any) any {
	if len(commits) == 0 {
		return nil
	}
	first, last := commits[0].(map[string]any), commits[len(commits)-1].(map[string]any)
	if committed(first).After(committed(last)) {
		first, last = last, first
	}
	return map[string]any{"from": first["id"], "to": last["id"]}
}

func committed(commit map[string]any) time.Time {
	committer, _ := commit["committer"].(map[string]any)
	seconds, _ := committer["timestamp"].(float64)
	return time.Unix(int64(seconds), 0).UTC()
}

// statistics returns the statistics of a release, as git-cliff computes them
// (git-cliff-core/src/statistics.rs).
func statistics(s, previous *section, commits []any) map[string]any {
	type link struct{ text, href string }
	counts := map[link]int{}
	conventional := 0
	var times []time.Time
	for _, c := range commits {
		commit := c.(map[string]any)
		times = append(times, committed(commit))
		if yes, _ := commit["conventional"].(bool); yes {
			conventional++
		}
		list, _ := commit["links"].([]any)
		for _, l := range list {
			fields, _ := l.(map[string]any)
			text, _ := fields["text"].(string)
			href, _ := fields["href"].(string)
			counts[link{text, href}]++
		}
	}
	links := slices.SortedFunc(maps.Keys(counts), func(a, b link) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a.text, b.text), strings.Compare(a.href, b.href))
	})
	list := []any{}
	for _, l := range links {
		list = append(list, map[string]any{"text": l.text, "href": l.href, "count": counts[l]})
	}
	out := map[string]any{"commit_count": len(commits), "conventional_commit_count": conventional, "links": list}
	if len(times) > 1 {
		out["commits_timespan"] = days(slices.MinFunc(times, time.Time.Compare), slices.MaxFunc(times, time.Time.Compare))
	}
	if previous != nil {
		out["days_passed_since_last_release"] = days(time.Unix(previous.Time, 0).UTC(), time.Unix(s.Time, 0).UTC())
	}
	return out
}

// days returns the calendar days between two times.
func days(from, to time.Time) int {
	return int(to.Truncate(24*time.Hour).Sub(from.Truncate(24*time.Hour)) / (24 * time.Hour))
}
