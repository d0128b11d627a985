package dist

import (
	"fmt"
	"strconv"
	"strings"
)

// checkRun reads the output of a native binary, whose last line is "exit status N". It
// fails if the binary could not start: if the loader refused it or a signal ended it.
// Any other status is its answer to --version; 124 means that it ran out of time.
func checkRun(name, triple, run string) error {
	lines := strings.Split(strings.TrimSpace(run), "\n")
	last := lines[len(lines)-1]
	status, err := strconv.Atoi(strings.TrimPrefix(last, "exit status "))
	if err != nil {
		return fmt.Errorf("binary %q of target %q did not run: the output is %q", name, triple, last)
	}
	if status == 126 || status == 127 || status > 128 {
		return fmt.Errorf("binary %q of target %q does not start: exit status %d:\n%s", name, triple, status, strings.Join(lines[:len(lines)-1], "\n"))
	}
	return nil
}
