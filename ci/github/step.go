package github

import (
	"cmp"
	"fmt"
	"strings"
)

// Action is the kind of a step.
type Action string

// The actions, in the order in which they happen.
const (
	CreateDraft Action = "create-draft"
	AdoptDraft  Action = "adopt-draft"
	// CorrectDraft corrects an adopted draft: its target commit and its prerelease
	// flag.
	CorrectDraft  Action = "correct-draft"
	SetNotes      Action = "set-notes"
	DeleteStarter Action = "delete-starter"
	Replace       Action = "replace"
	Upload        Action = "upload"
	Keep          Action = "keep"
	Publish       Action = "publish"
	Promote       Action = "promote"
	SendEvent     Action = "dispatch"
	// DeleteDraft deletes an empty draft that a run created next to another one.
	DeleteDraft Action = "delete-draft"
)

// Step is one thing to do, or one that is already right.
type Step struct {
	Action Action
	// Asset is the name of the step's asset, if any.
	Asset string
	Size  int64
	// Tag is the tag to publish or promote, or the type of the event to send.
	Tag string
	// Release is the id of the draft to adopt or delete.
	Release int64
	// Why is the reason, if it isn't obvious.
	Why string

	id     int64 // of the remote asset or release
	latest bool  // publish as the latest
}

// Write reports whether the step changes something.
func (s Step) Write() bool { return s.Action != AdoptDraft && s.Action != Keep }

func (s Step) String() string {
	values := strings.NewReplacer("TAG", s.Tag, "ASSET", s.Asset, "SIZE", fmt.Sprint(s.Size), "ID", fmt.Sprint(s.Release))
	text := values.Replace(cmp.Or(sentences[s.Action], string(s.Action)))
	if s.Why != "" {
		text += " (" + s.Why + ")"
	}
	return text
}

var sentences = map[Action]string{
	CreateDraft:   "create draft TAG",
	AdoptDraft:    "adopt draft ID",
	CorrectDraft:  "correct the draft",
	SetNotes:      "set title and notes",
	DeleteStarter: "delete starter ASSET",
	Replace:       "replace ASSET (SIZE bytes)",
	Upload:        "upload ASSET (SIZE bytes)",
	Keep:          "keep ASSET",
	Publish:       "publish TAG",
	Promote:       "promote TAG to latest",
	SendEvent:     "dispatch TAG",
	DeleteDraft:   "delete draft ID",
}

// State is the state of a release on GitHub.
type State string

// The states.
const (
	StateNone      State = "none"
	StateDraft     State = "draft"
	StateDrafts    State = "several drafts"
	StatePublished State = "published"
)

// Plan lists what a release would do.
type Plan struct {
	Repository string
	Tag        string
	Commit     string
	State      State
	// Steps are in order. They include assets that stay as they are.
	Steps []Step
	// Notes need no action.
	Notes []string
	// Problems prevent the release. If there are any, there are no steps.
	Problems []Problem

	seen *remote
}

// Writes returns the number of steps that change something.
func (p *Plan) Writes() int {
	n := 0
	for _, s := range p.Steps {
		if s.Write() {
			n++
		}
	}
	return n
}

// Summary returns the plan in a line: "create draft, upload 2 of 9, publish".
func (p *Plan) Summary() string {
	if len(p.Problems) > 0 {
		return fmt.Sprintf("%d problems", len(p.Problems))
	}
	return summarize(p.Steps)
}

func summarize(steps []Step) string {
	count := map[Action]int{}
	assets := 0
	for _, s := range steps {
		count[s.Action]++
		if s.Action == Upload || s.Action == Keep || s.Action == Replace {
			assets++
		}
	}
	var parts []string
	for _, a := range []Action{CreateDraft, AdoptDraft, CorrectDraft, SetNotes, DeleteStarter, Replace, Upload, Publish, Promote, SendEvent, DeleteDraft} {
		n := count[a]
		if n == 0 {
			continue
		}
		switch a {
		case Upload, Replace:
			parts = append(parts, fmt.Sprintf("%s %d of %d", a, n, assets))
		case DeleteStarter:
			parts = append(parts, fmt.Sprintf("delete %d starter", n))
		default:
			parts = append(parts, strings.ReplaceAll(string(a), "-", " "))
		}
	}
	if len(parts) == 0 {
		return "nothing to do"
	}
	return strings.Join(parts, ", ")
}

// Text returns the plan for people.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s of %s at %s\n", p.Tag, p.Repository, short(p.Commit))
	fmt.Fprintf(&b, "found: %s\n", p.State)
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	for _, q := range p.Problems {
		fmt.Fprintf(&b, "problem: %s\n", q)
	}
	fmt.Fprintf(&b, "plan: %s\n", p.Summary())
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	return b.String()
}

func short(sha string) string { return sha[:min(len(sha), 12)] }

func (p *Plan) problem(hint, format string, args ...any) {
	p.Problems = append(p.Problems, Problem{fmt.Sprintf(format, args...), hint})
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

func (p *Plan) step(s ...Step) { p.Steps = append(p.Steps, s...) }
