// Package engine has the pieces that the container graphs of both phases share: errors of
// containers in plain words, reports, and a client of GitHub with the caller's secrets.
//
// It reads secrets and files of the caller, prints to the function's log, and belongs to
// neither phase.
package engine

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"dagger/gantry/internal/dagger"
)

// progress matches the messages of the scripts that report no failure.
var progress = regexp.MustCompile(`^(compiled|waiting|a cached copy) `)

// Explain turns the failure of a container into an error with the message of the
// script that failed, or else with the end of its standard error.
func Explain(doing string, err error) error {
	var failed *dagger.ExecError
	if !errors.As(err, &failed) {
		return fmt.Errorf("%s: %v", doing, err)
	}
	lines := strings.Split(strings.TrimSpace(failed.Stderr), "\n")
	for i, l := range lines {
		if message, ok := strings.CutPrefix(l, "gantry: "); ok && !progress.MatchString(message) {
			return fmt.Errorf("%s: %s", doing, strings.Join(append([]string{message}, lines[i+1:]...), "\n"))
		}
	}
	if len(lines) > 40 {
		lines = lines[len(lines)-40:]
	}
	return fmt.Errorf("%s: exit status %d:\n%s", doing, failed.ExitCode, strings.Join(lines, "\n"))
}
