package main

import (
	"fmt"
	"os"

	"dagger/gantry/ci/release"
	"dagger/gantry/ci/release/changelog"
)

// The program of this module has other uses: in a container of its own, it packs
// what others built, or divides a history into the sections of a changelog. The
// function main is the engine's.
func init() {
	commands := map[string]func() error{
		release.PackCommand:       release.PackMain,
		changelog.SectionsCommand: changelog.SectionsMain,
	}
	if len(os.Args) != 2 || commands[os.Args[1]] == nil {
		return
	}
	if err := commands[os.Args[1]](); err != nil {
		fmt.Fprintln(os.Stderr, "gantry:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
