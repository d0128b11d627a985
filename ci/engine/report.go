package engine

import (
	"fmt"
	"os"

	"dagger/gantry/ci/markdown"
)

// Format is how a report reads.
type Format struct {
	// Markdown is for the summary of a CI job.
	Markdown bool
	// Title is the heading in Markdown.
	Title string
}

// Render returns a text in the format.
func (f Format) Render(text string) string {
	if f.Markdown {
		return markdown.Report(f.Title, text)
	}
	return text
}

// Report renders a report. With an error, the report goes to the log and only the
// error is returned; report may be nil then.
func Report[R any, P interface {
	*R
	Text() string
}](report P, err error, format Format) (string, error) {
	if err == nil {
		return format.Render(report.Text()), nil
	}
	if report != nil {
		fmt.Fprint(os.Stderr, report.Text())
	}
	return "", err
}
