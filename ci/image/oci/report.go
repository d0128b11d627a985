package oci

import (
	"fmt"
	"strings"
)

// Report describes a publication.
type Report struct {
	Version string
	// Digest of the index.
	Digest string
	DryRun bool
	// Repositories in the caller's order.
	Repositories []*RepositoryReport
}

// RepositoryReport describes the publication to a repository.
type RepositoryReport struct {
	Repository string
	// Planned has all steps, in their order.
	Planned []Step
	// Done has the steps that were carried out.
	Done []Step
	// Skipped has the steps without need.
	Skipped []Step
	// Note explains an adopted image to people.
	Note string
	// Failed is the error, if any.
	Failed string
	Stats
	// Took is the duration.
	Took string
}

// Text renders the report for people.
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
