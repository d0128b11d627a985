package main

import (
	"maps"

	"dagger/gantry/ci/fakehub"
)

// outcome is what one cell of the matrix ended in.
type outcome struct {
	// first and second tell whether the release was complete and right after one run,
	// and after one more run of the same command.
	first, second bool
	// seen means that users could see a published release that was incomplete or wrong.
	seen bool
	// lied means that a run reported success and the release was not complete.
	lied bool
	// ended means that a run was ended because it took too long.
	ended bool
	// drafts is how many drafts of the tag are left in the end.
	drafts int
}

// end is the last state of a release, as the events tell it.
type end struct {
	public bool
	assets map[string]string
}

// ends returns the last states of the tag's releases that are not deleted.
func ends(events []fakehub.Event) map[int64]end {
	all := map[int64]end{}
	for _, e := range events {
		switch {
		case e.Tag != tag || e.Release == 0:
		case e.Kind == "delete":
			delete(all, e.Release)
		default:
			all[e.Release] = end{!e.Draft, e.Assets}
		}
	}
	return all
}

// complete reports whether a published release of the tag has exactly the wanted files.
func complete(events []fakehub.Event, want map[string]string) bool {
	for _, e := range ends(events) {
		if e.public && right(e.assets, want) {
			return true
		}
	}
	return false
}

// drafts counts the drafts of the tag that are left.
func drafts(events []fakehub.Event) (n int) {
	for _, e := range ends(events) {
		if !e.public {
			n++
		}
	}
	return n
}

// exposed reports whether users could see the release while it was not right.
func exposed(events []fakehub.Event, want map[string]string) bool {
	for _, e := range events {
		if e.Tag == tag && !e.Draft && (e.Kind == "delete" || !right(e.Assets, want)) {
			return true
		}
	}
	return false
}

// right reports whether assets, as an event of the fake GitHub lists them, are exactly
// the wanted ones.
func right(assets, want map[string]string) bool {
	return maps.EqualFunc(assets, want, func(have, sum string) bool { return have == "sha256:"+sum })
}

// judge judges a cell after its first run or, if there was one, its second.
func (o *outcome) judge(events []fakehub.Event, want map[string]string, a *attempt, again bool) {
	o.second = complete(events, want)
	if !again {
		o.first = o.second
	}
	o.seen = exposed(events, want)
	o.ended = o.ended || a.ended
	o.lied = o.lied || a.code == 0 && !o.second
	o.drafts = drafts(events)
}
