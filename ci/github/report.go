package github

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Report lists what a release did.
type Report struct {
	Plan   *Plan
	DryRun bool
	// Done lists the steps carried out, in the plan's order. It includes assets that
	// stayed as they were.
	Done []Step
	// Extra lists other steps carried out, because something changed after the plan.
	Extra []Step
	// Notes give reasons.
	Notes []string
	// Release is the final release, with its assets.
	Release *Release

	Counts
	Took time.Duration

	mu sync.Mutex
}

// Counts tell what a release took.
type Counts struct {
	// BytesSent counts the bytes of assets, retries included.
	BytesSent int64
	// BytesRead counts the bytes of assets downloaded to compare them.
	BytesRead int64
	Reads     int
	Writes    int
	Calls     map[string]int // by method
	Retries   int
	Waited    time.Duration
}

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

// finish sorts the steps into the plan's order and copies the session's counts.
func (r *Report) finish(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.Done
	r.Done = nil
	for _, p := range r.Plan.Steps {
		if i := slices.Index(done, p); i >= 0 {
			r.Done = append(r.Done, p)
			done = slices.Delete(done, i, i+1)
		}
	}
	r.Extra = slices.DeleteFunc(done, func(s Step) bool { return !s.Write() })
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Counts, r.Took = s.counts, s.c.o.Clock.Now().Sub(s.started)
}

// Summary returns the report in a line.
func (r *Report) Summary() string {
	if r.DryRun {
		return "dry run: " + r.Plan.Summary()
	}
	return summarize(append(slices.Clone(r.Done), r.Extra...))
}

// Text returns the report for people.
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
			fmt.Fprintf(&b, "  also: %s\n", s)
		}
	}
	if r.Release != nil {
		fmt.Fprintf(&b, "at: %s\n", r.Release.URL)
	}
	fmt.Fprintf(&b, "sent %d bytes, %d reads, %d writes, %d retries, waited %s, took %s\n",
		r.BytesSent, r.Reads, r.Writes, r.Retries, r.Waited.Round(time.Millisecond), r.Took.Round(time.Millisecond))
	return b.String()
}
