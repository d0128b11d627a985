package dist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Main packs as a program: it reads an [Input] from a JSON file and writes
// the release files to the directory out.
func Main(input, out string) error {
	text, err := os.ReadFile(input)
	if err != nil {
		return fmt.Errorf("read the input of the packer: %w", err)
	}
	var in Input
	if err := json.Unmarshal(text, &in); err != nil {
		return fmt.Errorf("read the input of the packer: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	_, err = Assemble(out, in, func(warning string) { fmt.Fprintln(os.Stderr, "gantry: warning:", warning) })
	return err
}

// MergeMain merges as a program: it writes the release files of the directory parts,
// with the files of the directory files, if there is one, to the directory out.
func MergeMain(parts, files, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	m, err := Merge(context.Background(), parts, out)
	if err != nil {
		return err
	}
	added, err := os.ReadDir(files)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var names []string
	for _, f := range added {
		names = append(names, f.Name())
	}
	return AddFiles(out, m, files, names)
}
