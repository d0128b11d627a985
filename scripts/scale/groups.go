package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"

	"dagger/gantry/scripts/scale/curve"
)

// groups are all groups, in the order of the page.
var groups []group

func init() { // the steps look themselves up
	groups = []group{files, crates, assets, releases, tags}
}

var files = group{
	Group: curve.Group{
		Name: "files", Title: "Files of the source", Unit: "files",
		About: "A source of one small package, with n files of a few bytes, a hundred in a directory.",
	},
	base: 100, sizes: []int{1000, 3000, 10000, 30000, 100000}, quick: []int{1000, 3000},
	repeats: 3,
	steps: []step{
		{name: "decide", what: "Plans a source of which everything is known", memory: 192, pure: planFiles},
	},
}

var crates = group{
	Group: curve.Group{
		Name: "crates", Title: "Crates", Unit: "crates",
		About: "A workspace of n members, each of which depends on the one before and has a readme and a license, and of which every tenth has a binary; and a program of n crates from crates.io, each with two license texts of three thousand characters.",
	},
	base: 5, sizes: []int{10, 25, 50, 100, 200, 400}, quick: []int{10, 50},
	repeats: 3, open: writeCrates,
	steps: []step{
		{name: "decide", what: "Plans a workspace of which everything is known", memory: 64, pure: planCrates},
		{name: "pack", what: "Packs the program with the licenses of its crates, both bills of materials, and the list in the program", memory: 128, pure: packCrates},
	},
}

// drawOne draws the plot of a group.
func drawOne(ctx context.Context, program string, results *curve.Results, g curve.Group) ([]byte, error) {
	p, err := curve.PlotOf(results, g)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	var svg, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &svg, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("draw the plot of %q: %w: %s", g.Name, err, errs.String())
	}
	return svg.Bytes(), nil
}
