package sections

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// commit is what [arrange] needs of a commit in [CommitsFile], and its place there. The
// rest stays in the file: a history may have tens of thousands of them.
type commit struct {
	ID        string `json:"id"`
	Committer struct {
		Timestamp float64 `json:"timestamp"`
	} `json:"committer"`
	Conventional bool   `json:"conventional"`
	Links        []link `json:"links"`

	from, size int64
}

type link struct {
	Text string `json:"text"`
	Href string `json:"href"`
}

func (c *commit) committed() time.Time { return time.Unix(int64(c.Committer.Timestamp), 0).UTC() }

// arranged is a release and its commits.
type arranged struct {
	release
	commits []commit
}

// readContext reads releases as `git-cliff --context` prints them.
func readContext(in io.Reader) ([]arranged, error) {
	dec := json.NewDecoder(bufio.NewReader(in))
	var all []arranged
	return all, each(dec, '[', func() error {
		r := arranged{release: release{}}
		err := each(dec, '{', func() error {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			if key == "commits" {
				r.commits, err = readCommits(dec)
				return err
			}
			var value any
			err = dec.Decode(&value)
			r.release[key.(string)] = value
			return err
		})
		all = append(all, r)
		return err
	})
}

// readCommits reads a list of commits.
func readCommits(dec *json.Decoder) (commits []commit, _ error) {
	var raw json.RawMessage
	err := each(dec, '[', func() error {
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		c := commit{size: int64(len(raw)), from: dec.InputOffset() - int64(len(raw))}
		err := json.Unmarshal(raw, &c)
		commits = append(commits, c)
		return err
	})
	return commits, err
}

// each calls a function for each element of a list or an object; for none of null.
func each(dec *json.Decoder, open json.Delim, element func() error) error {
	switch token, err := dec.Token(); {
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case token == nil:
		return nil
	case token != open:
		return fmt.Errorf("%v in the place of %v", token, open)
	}
	for dec.More() {
		if err := element(); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err == io.EOF {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	return nil
}

// writeContext writes releases as `git-cliff --from-context` reads them. Their commits
// come from the file that they were read from.
func writeContext(file string, releases []arranged, commits io.ReaderAt, c config) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriter(f)
	separator := "["
	for _, r := range releases {
		delete(r.release, "commits")
		text, err := json.Marshal(r.release)
		if err != nil {
			return err
		}
		// The commits are the last field.
		fmt.Fprintf(out, "%s%s,\"commits\":[", separator, bytes.TrimSuffix(text, []byte("}")))
		separator = ","
		for i, commit := range r.commits {
			raw := make([]byte, commit.size)
			if _, err := commits.ReadAt(raw, commit.from); err != nil {
				return err
			}
			if !c.conventional {
				if raw, err = keepUnconventional(raw); err != nil {
					return err
				}
			}
			if i > 0 {
				out.WriteByte(',')
			}
			out.Write(raw)
		}
		out.WriteString("]}")
	}
	if separator == "[" {
		out.WriteByte('[')
	}
	out.WriteByte(']')
	return out.Flush()
}

// keepUnconventional makes git-cliff keep the message of a commit. From a context,
// it parses every commit that it can as a conventional one, whatever its
// configuration; a message that begins with a space never is.
func keepUnconventional(raw []byte) ([]byte, error) {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	if message, found := fields["raw_message"].(string); found {
		fields["raw_message"] = " " + message
	}
	return json.Marshal(fields)
}

// commitRange returns the first and the last of the commits.
func commitRange(commits []commit) any {
	if len(commits) == 0 {
		return nil
	}
	first, last := commits[0], commits[len(commits)-1]
	if first.committed().After(last.committed()) {
		first, last = last, first
	}
	return map[string]any{"from": first.ID, "to": last.ID}
}

// statistics returns the statistics of a release, as git-cliff computes them
// (git-cliff-core/src/statistics.rs).
func statistics(s, previous *section, commits []commit) map[string]any {
	counts := map[link]int{}
	conventional := 0
	var times []time.Time
	for _, c := range commits {
		times = append(times, c.committed())
		if c.Conventional {
			conventional++
		}
		for _, l := range c.Links {
			counts[l]++
		}
	}
	list := []any{}
	for _, l := range sortedLinks(counts) {
		list = append(list, map[string]any{"text": l.Text, "href": l.Href, "count": counts[l]})
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

// sortedLinks returns the links, the most frequent first.
func sortedLinks(counts map[link]int) []link {
	var links []link
	for l := range counts {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b link) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a.Text, b.Text), cmp.Compare(a.Href, b.Href))
	})
	return links
}

// days returns the calendar days between two times.
func days(from, to time.Time) int {
	return int(to.Truncate(24*time.Hour).Sub(from.Truncate(24*time.Hour)) / (24 * time.Hour))
}
