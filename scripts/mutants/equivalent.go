package main

import (
	"fmt"
	"os"
	"strings"
)

// Equivalent is the list of the mutants that no test can tell from the original,
// and why. The key of a mutant starts a line; the reason follows in indented
// lines. Lines that start with # are comments.
type Equivalent map[string]string

// ReadEquivalent reads the list. Each entry needs a reason.
func ReadEquivalent(path string) (Equivalent, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list := Equivalent{}
	var key string
	for i, line := range strings.Split(string(data), "\n") {
		text := strings.TrimSpace(line)
		switch {
		case text == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			if key == "" {
				return nil, fmt.Errorf("%s:%d: a reason without a mutant: start the line above with the mutant's key", path, i+1)
			}
			list[key] = strings.TrimSpace(list[key] + " " + text)
		default:
			if _, twice := list[text]; twice {
				return nil, fmt.Errorf("%s:%d: %q is listed twice", path, i+1, text)
			}
			key = text
			list[key] = ""
		}
	}
	for key, reason := range list {
		if reason == "" {
			return nil, fmt.Errorf("%s: %q has no reason: say in an indented line below why no test can notice it", path, key)
		}
	}
	return list, nil
}
