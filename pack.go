package main

import (
	"os"

	"dagger/gantry/ci/release"
)

// In a container, the module's program also packs archives and divides changelogs:
// its first argument says so. The engine's main runs otherwise.
func init() { release.Program(os.Args) }
