package oci

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Report says what a publication did.
type Report struct {
	Version string `json:"version"`
	// Digest of the index.
	Digest string `json:"digest"`
	DryRun bool   `json:"dryRun,omitempty"`
	// Repositories, in the order they were given.
	Repositories []*RepositoryReport `json:"repositories"`
}

// RepositoryReport says what a publication did in one repository.
type RepositoryReport struct {
	Repository string `json:"repository"`
	// Planned are the steps that were decided on, in their order.
	Planned []Step `json:"planned,omitempty"`
	// Done are those that were carried out.
	Done []Step `json:"done,omitempty"`
	// Skipped are those that there was no need for.
	Skipped []Step `json:"skipped,omitempty"`
	// Note is what people should know of an image that was there already.
	Note string `json:"note,omitempty"`
	// Failed is the error; empty when there was none.
	Failed string `json:"failed,omitempty"`
	Stats
	// Took is how long it was.
	Took string `json:"took"`
}

func (r *RepositoryReport) finish(after, before Stats, took time.Duration) {
	r.Stats = after.minus(before)
	r.Took = took.Round(time.Millisecond).String()
}

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "image %s %s\n", r.Version, r.Digest)
	for _, repo := range r.Repositories {
		fmt.Fprintf(&b, "%s\n", repo.Repository)
		if r.DryRun {
			for _, s := range repo.Planned {
				fmt.Fprintf(&b, "  would %s\n", s)
			}
		}
		for _, s := range repo.Done {
			fmt.Fprintf(&b, "  done: %s\n", s)
		}
		for _, s := range repo.Skipped {
			fmt.Fprintf(&b, "  nothing to do: %s\n", s)
		}
		if repo.Note != "" {
			fmt.Fprintf(&b, "  note: %s\n", repo.Note)
		}
		if repo.Failed != "" {
			fmt.Fprintf(&b, "  failed: %s\n", repo.Failed)
		}
		fmt.Fprintf(&b, "  pushed %d bytes, %d requests, %d retries, took %s\n", repo.BytesPushed, repo.Requests, repo.Retries, repo.Took)
	}
	if r.DryRun {
		b.WriteString("dry run: nothing was written\n")
	}
	return b.String()
}

// JSON is the report for programs.
func (r *Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }
