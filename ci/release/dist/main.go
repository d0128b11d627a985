package dist

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Job of [Main].
type Job struct {
	Input Input
	// BinariesOnly wants the binaries, checked, and no release.
	BinariesOnly bool
}

// Main is packing as a program: it reads a [Job] from a file of JSON and writes
// files into the folder out.
func Main(job, out string) error {
	text, err := os.ReadFile(job)
	if err != nil {
		return fmt.Errorf("read what to pack: %w", err)
	}
	var j Job
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("read what to pack: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if !j.BinariesOnly {
		_, err := Assemble(out, j.Input, func(warning string) { fmt.Fprintln(os.Stderr, "gantry: warning:", warning) })
		return err
	}
	for _, t := range j.Input.Targets {
		if _, err := Inspect(t); err != nil {
			return err
		}
		for _, bin := range t.Binaries {
			to := filepath.Join(out, bin.Name)
			if err := errors.Join(copyFile(bin.File, to), os.Chmod(to, 0o755)); err != nil {
				return err
			}
		}
	}
	return nil
}
