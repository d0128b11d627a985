package main

import (
	"fmt"
	"os"

	"dagger/gantry/ci/workspace"
)

// The program of this module has a second use: in a container of its own, it
// packs what others built. The function main is the engine's.
func init() {
	if len(os.Args) != 2 || os.Args[1] != workspace.PackCommand {
		return
	}
	if err := workspace.PackMain(); err != nil {
		fmt.Fprintln(os.Stderr, "gantry:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
