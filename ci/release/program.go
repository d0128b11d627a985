package release

import (
	"fmt"
	"os"

	"dagger/gantry/ci/release/changelog"
)

// Program runs the command that is the only argument of the module's program, and
// exits. It returns if there is none.
func Program(args []string) {
	commands := map[string]func() error{
		packCommand:               packMain,
		mergeCommand:              mergeMain,
		changelog.SectionsCommand: changelog.SectionsMain,
	}
	if len(args) != 2 || commands[args[1]] == nil {
		return
	}
	if err := commands[args[1]](); err != nil {
		fmt.Fprintln(os.Stderr, "gantry:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
