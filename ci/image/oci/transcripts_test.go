package oci_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// run plays a scenario; the text says what came of it.
func (x scenario) run(h *hub) (text string, err error) {
	said, err := x.do(h, h.open())
	if err != nil {
		said += "error: " + err.Error() + "\n"
	}
	return h.text(said), err
}

// What people are told, what the registry was asked for, with which right, and
// what it has in the end.
func TestTranscripts(t *testing.T) {
	var text strings.Builder
	for _, x := range scenarios() {
		h := x.begin(t)
		said, _ := x.run(h)
		fmt.Fprintf(&text, "== %s\n%s%stags:\n%s\n", x.name, said, h.transcript(), h.tags())
	}
	golden(t, "transcripts.txt", text.String())
}

// A refusal of any request, wherever it is made, ends what it is made for: it is
// told, and nothing is written after it. The answer to a HEAD proves nothing, so
// whatever is asked next about the same is refused too.
func TestEveryRequestRefused(t *testing.T) {
	cells, done := 0, map[string]bool{}
	for _, x := range scenarios() {
		h := x.begin(t)
		start := h.tags()
		said, clean := x.run(h)
		tags := h.tags()
		so, _, _ := strings.Cut(said, "\n")
		so += start
		for _, at := range h.since(0) {
			// Until something happens, scenarios are alike.
			if so += fmt.Sprintln(h.text(at.what), at.events); done[so] {
				continue
			}
			done[so] = at.events == 0
			cells++
			cell := fmt.Sprintf("%s: request %d (%s) refused", x.name, at.n, at.what)
			h := x.begin(t)
			last := at
			h.fault = func(c call) *http.Response {
				again := strings.HasPrefix(at.what, "HEAD ") && c.n == last.n+1 && c.path() == at.path() && !c.writes()
				if c.n != at.n && !again {
					return nil
				}
				last = c
				return respond(http.StatusForbidden, `{"errors":[{"code":"DENIED","message":"refused"}]}`)
			}
			said, err := x.run(h)
			if fmt.Sprint(err) == fmt.Sprint(clean) && strings.HasPrefix(at.what, "HEAD ") && last.n == at.n {
				require.Equal(t, tags, h.tags(), cell) // before an upload, which may be made all the same
				continue
			}
			require.Contains(t, said, h.text(last.url), cell)
			for _, c := range h.since(last.n) {
				// What one image lacks doesn't stop another, which need not be sent again.
				sends := !strings.HasPrefix(at.what, "GET ") && strings.Contains(at.what, "sha256:") || strings.Contains(at.what, "blobs/uploads/")
				part := strings.HasPrefix(c.path(), "blobs/") || strings.HasPrefix(h.text(c.path()), "manifests/<image ")
				require.False(t, c.writes() && !(sends && part), "%s: %s after it\n%s", cell, c.what, said)
			}
		}
	}
	t.Logf("%d refusals, each the end of its action", cells)
}

// What comes of other answers, each to one request, where that is anything else.
func TestOtherAnswers(t *testing.T) {
	kinds := []struct {
		name   string
		answer func() *http.Response
		lasts  bool
	}{
		{"not there", func() *http.Response { return respond(http.StatusNotFound, unknown) }, false},
		{"a page", func() *http.Response { return respond(http.StatusOK, "<html>") }, false},
		{"down", func() *http.Response { return respond(http.StatusServiceUnavailable, "") }, true},
	}
	var text strings.Builder
	done := map[string]bool{}
	once := []string{"survey: nothing is missing", "survey: somebody else's tags", "explain", "verify", "verify on a base image of a digest", "assemble", "write a layout", "read what was published", "compare base images", "read an index", "attach again", "verify what is attached", "survey: everything is attached"}
	for _, x := range scenarios() {
		if !slices.Contains(once, x.name) {
			continue
		}
		h := x.begin(t)
		clean, _ := x.run(h)
		clean = spent.ReplaceAllString(clean, "")
		for _, at := range h.since(0) {
			for _, kind := range kinds {
				line := fmt.Sprintf("%s: %s:", h.text(at.what), kind.name)
				if strings.Contains(at.what, "blobs/uploads") || done[x.name+line] {
					continue
				}
				done[x.name+line] = true
				h := x.begin(t)
				h.fault = func(c call) *http.Response {
					if c.n != at.n && (!kind.lasts || c.what != at.what || c.n < at.n) {
						return nil
					}
					return kind.answer()
				}
				said, _ := x.run(h)
				said = spent.ReplaceAllString(said, "")
				line += fmt.Sprintf(" %s\n", strings.ReplaceAll(strings.TrimSpace(said), "\n", "; "))
				if said != clean && !done[line] {
					text.WriteString(line)
				}
				done[line] = true
			}
		}
	}
	golden(t, "answers.txt", text.String())
}

// spent is what a survey took.
var spent = regexp.MustCompile(`\d+ requests, \d+ retries\n`)

func scenarios() []scenario {
	return slices.Concat(publications(), surveys(), readings(), attachments())
}
