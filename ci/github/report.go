package github

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Report says what a release did.
type Report struct {
	Plan   *Plan `json:"plan"`
	DryRun bool  `json:"dry_run,omitempty"`
	// Done are the steps that were carried out, in the plan's order; those
	// that keep something are among them.
	Done []Step `json:"done,omitempty"`
	// Extra are steps that were carried out besides, because something changed
	// meanwhile.
	Extra []Step `json:"extra,omitempty"`
	// Notes say why.
	Notes []string `json:"notes,omitempty"`
	// Release is the release in the end, with its assets.
	Release *Release `json:"release,omitempty"`

	// BytesSent counts the bytes of assets, those sent again too.
	BytesSent int64 `json:"bytes_sent"`
	// BytesRead counts the bytes of assets that were downloaded to compare.
	BytesRead int64          `json:"bytes_read,omitempty"`
	Reads     int            `json:"reads"`
	Writes    int            `json:"writes"`
	Calls     map[string]int `json:"calls"` // by method
	Retries   int            `json:"retries"`
	Waited    Duration       `json:"waited"`
	Took      Duration       `json:"took"`

	mu sync.Mutex
}

// Duration is a duration that is text in JSON.
type Duration time.Duration

// MarshalText writes the duration as "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string { return time.Duration(d).Round(time.Millisecond).String() }

func (r *Report) did(s Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Done = append(r.Done, s)
}

func (r *Report) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Notes = append(r.Notes, s)
}

// finish sorts the steps into the plan's order and takes over the counts.
func (r *Report) finish(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.Done
	r.Done, r.Extra = nil, nil
	for _, p := range r.Plan.Steps {
		if i := slices.Index(done, p); i >= 0 {
			r.Done = append(r.Done, p)
			done = slices.Delete(done, i, i+1)
		}
	}
	for _, d := range done {
		if d.Write() {
			r.Extra = append(r.Extra, d)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.BytesSent, r.BytesRead = s.sent, s.fetched
	r.Reads, r.Writes, r.Calls, r.Retries = s.reads, s.writes, s.calls, s.retries
	r.Waited, r.Took = Duration(s.waited), Duration(s.c.o.Clock.Now().Sub(s.started))
}

// Summary is the report in a line.
func (r *Report) Summary() string {
	if r.DryRun {
		return "dry run: " + r.Plan.Summary()
	}
	return summarize(append(slices.Clone(r.Done), r.Extra...))
}

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	if r.DryRun {
		b.WriteString(r.Plan.Text())
		b.WriteString("dry run: nothing was written\n")
	} else {
		fmt.Fprintf(&b, "release %s of %s at %s\n", r.Plan.Tag, r.Plan.Repository, short(r.Plan.Commit))
		for _, n := range append(slices.Clone(r.Plan.Notes), r.Notes...) {
			fmt.Fprintf(&b, "note: %s\n", n)
		}
		fmt.Fprintf(&b, "planned: %s\n", r.Plan.Summary())
		fmt.Fprintf(&b, "done: %s\n", r.Summary())
		for _, s := range r.Done {
			fmt.Fprintf(&b, "  %s\n", s)
		}
		for _, s := range r.Extra {
			fmt.Fprintf(&b, "  besides: %s\n", s)
		}
	}
	if r.Release != nil {
		fmt.Fprintf(&b, "at: %s\n", r.Release.URL)
	}
	fmt.Fprintf(&b, "sent %d bytes, %d reads, %d writes, %d retries, waited %s, took %s\n",
		r.BytesSent, r.Reads, r.Writes, r.Retries, r.Waited, r.Took)
	return b.String()
}

// JSON is the report for programs.
func (r *Report) JSON() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return json.MarshalIndent(r, "", "  ")
}
