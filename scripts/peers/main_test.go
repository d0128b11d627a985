package main

import (
	"os"
	"testing"
)

// TestMain lets the test's program be Gantry's publisher, as the real one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == publishCommand {
		main()
		return
	}
	os.Exit(m.Run())
}
