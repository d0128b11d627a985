package main

import "context"

// Part compares the tools in one respect.
type Part func(context.Context, *Env) ([]Row, error)

// parts are all parts, in the order of the tables.
var parts = []struct {
	name, title string
	run         Part
}{
	{"releases", "The GitHub Release", releases},
	{"builds", "Builds", builds},
	{"images", "Container images", images},
	{"tags", "Tags of images", tags},
	{"changelogs", "Changelogs", changelogs},
}
