package main

import (
	"fmt"
	"os"

	"dagger/gantry/ci/changelog"
	"dagger/gantry/ci/workspace"
)

// The program of this module has other uses: in a container of its own, it packs
// what others built, or divides a history into the sections of a changelog. The
// function main is the engine's.
func init() {
	commands := map[string]func() error{
		workspace.PackCommand:     workspace.PackMain,
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
