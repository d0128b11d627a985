package dist

import (
	"encoding/json"
	"fmt"
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
