package dist

import (
	"fmt"
	"strconv"
	"strings"
)

// checkRun reads how a native binary ran (its output, then "exit status N" on
// the last line) and fails when it could not start: when the loader refused it
// or a signal ended it. Any other status is its own answer to --version, and
// 124 says that it was still running when its time was up.
func checkRun(name, triple, run string) error {
	lines := strings.Split(strings.TrimSpace(run), "\n")
	last := lines[len(lines)-1]
	status, err := strconv.Atoi(strings.TrimPrefix(last, "exit status "))
	if err != nil {
		return fmt.Errorf("binary %q of target %q was not run: it left %q", name, triple, last)
	}
	if status == 126 || status == 127 || status > 128 {
		return fmt.Errorf("binary %q of target %q does not start: exit status %d:\n%s", name, triple, status, strings.Join(lines[:len(lines)-1], "\n"))
	}
	return nil
}
