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
	groups = []group{targets, binaries, files, megabytes, crates, commits, assets, releases, registryTags}
}

var targets = group{
	Group: curve.Group{
		Name: "targets", Title: "Targets", Unit: "targets",
		About: "A program of thirty functions. Up to four targets are compiled, which the toolchain image can do without more tools. For up to eight, programs that were built elsewhere are packed with `with-binaries`: 16 MiB each, the headers of a program and noise.",
	},
	base: 1, sizes: []int{2, 3, 4, 6, 8}, quick: []int{2},
	engineRepeats: 3,
	steps: []step{
		{name: "compile", what: "`dist` from empty caches", most: 4, memory: 192, engine: distSource(writeTargets)},
		{name: "pack", what: "`dist` of programs that were built elsewhere", memory: 192, engine: packSource},
	},
}

var binaries = group{
	Group: curve.Group{
		Name: "binaries", Title: "Binaries", Unit: "binaries",
		About: "A package with n programs of four functions, for one target.",
	},
	base: 1, sizes: []int{2, 4, 8, 16, 32}, quick: []int{2},
	engineRepeats: 3,
	steps: []step{
		{name: "compile", what: "`dist` from empty caches", memory: 192, engine: distSource(writeBins)},
		{name: "cargo", what: "`cargo build --release` of such a package in Rust's image, which the engine has not seen", reference: true, engine: cargoSource(writeBins, "binaries", "cargo build --release --offline && ls target/release/app-??")},
	},
}

var commits = group{
	Group: curve.Group{
		Name: "commits", Title: "Commits", Unit: "commits",
		About: "A program of a few lines with a history of n commits, each of one small file, and ten releases, made by `git fast-import`.",
	},
	base: 100, sizes: []int{1000, 3000, 10000, 30000, 50000}, quick: []int{1000},
	repeats: 3, engineRepeats: 2, open: writeHistory,
	steps: []step{
		{name: "divide", what: "Divides what git-cliff read into sections, as a changelog does in the container of the module's program", memory: 96, pure: divideHistory},
		{name: "plan", what: "`release plan` of a source that the engine has not seen", memory: 192, engine: planSource(writeCommits)},
		{name: "changelog", what: "`release changelog` of all releases, after the plan", memory: 192, engine: changelogSource},
	},
}

var files = group{
	Group: curve.Group{
		Name: "files", Title: "Files of the source", Unit: "files",
		About: "A source of one small package, with n files of a few bytes, a hundred in a directory.",
	},
	base: 100, sizes: []int{1000, 3000, 10000, 30000, 100000}, quick: []int{1000, 3000},
	repeats: 3, engineRepeats: 2,
	steps: []step{
		{name: "decide", what: "Plans a source of which everything is known", memory: 64, pure: planFiles},
		{name: "plan", what: "`release plan` of a source that the engine has not seen", memory: 192, engine: planSource(writeManyFiles)},
		{name: "plan again", what: "The same plan again, with nothing changed", memory: 192, engine: planSource(writeManyFiles)},
		{name: "nothing", what: "A function that does nothing with a source of that size, which the engine has not seen", reference: true, engine: nothingSource(writeManyFiles)},
		{name: "nothing again", what: "The function that does nothing again, with nothing changed", reference: true, engine: nothingSource(writeManyFiles)},
	},
}

var megabytes = group{
	Group: curve.Group{
		Name: "bytes", Title: "Bytes of the source", Unit: "megabytes",
		About: "A source of one small package and eight files that can't be compressed, of n megabytes in all: half of them are in `.git`.",
	},
	base: 1, sizes: []int{10, 100, 300, 1000, 2000}, quick: []int{10, 20},
	engineRepeats: 2,
	steps: []step{
		{name: "plan", what: "`release plan` of a source that the engine has not seen", memory: 192, engine: planSource(writeMegabytes)},
		{name: "plan again", what: "The same call again, with nothing changed", memory: 192, engine: planSource(writeMegabytes)},
	},
}

var crates = group{
	Group: curve.Group{
		Name: "crates", Title: "Crates", Unit: "crates",
		About: "A workspace of n members, each of which depends on the one before and has a readme and a license, and of which every tenth has a binary; and a program of n crates from crates.io, each with two license texts of three thousand characters.",
	},
	base: 5, sizes: []int{10, 100, 400, 800, 1600, 3200, 6400}, quick: []int{10, 50},
	repeats: 3, engineRepeats: 3, open: writeCrates,
	steps: []step{
		{name: "decide", what: "Plans a workspace of which everything is known", most: 1600, memory: 64, pure: planCrates},
		{name: "plan", what: "`release plan` of the workspace, which the engine has not seen", memory: 192, engine: planSource(writeMembers)},
		{name: "cargo", what: "`cargo metadata --no-deps` of such a workspace in Rust's image, which the engine has not seen", reference: true, engine: cargoSource(writeMembers, "members", "cargo metadata --no-deps --format-version=1 | grep -o manifest_path")},
		{name: "pack", what: "Packs the program with the licenses of its crates, both bills of materials, and the list in the program", most: 1600, memory: 128, pure: packCrates},
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
