package plan

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// TargetDir is Cargo's target directory in a build.
const TargetDir = "/gantry/target"

// Executables finds the paths of the build's binaries, in the order of its
// Bins, in Cargo's messages (see
// https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages).
// A binary counts only as that of the package that was asked for. Where the
// call of Cargo was for several targets, it also has to be in the target's own
// part of the target directory ("Build cache", The Cargo Book).
func (b Build) Executables(messages string, several bool) ([]string, error) {
	type key struct{ id, name string }
	found := map[key]string{}
	lines := bufio.NewScanner(strings.NewReader(messages))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m struct {
			Reason    string `json:"reason"`
			PackageID string `json:"package_id"`
			Target    struct {
				Kind []string `json:"kind"`
				Name string   `json:"name"`
			} `json:"target"`
			Executable string `json:"executable"`
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("read cargo's messages: %w", err)
		}
		if several && !strings.HasPrefix(m.Executable, TargetDir+"/"+b.Target.Triple+"/") {
			continue
		}
		if m.Reason == "compiler-artifact" && m.Executable != "" && slices.Contains(m.Target.Kind, "bin") {
			found[key{m.PackageID, m.Target.Name}] = m.Executable
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read cargo's messages: %w", err)
	}
	var paths []string
	for _, bin := range b.Bins {
		path := found[key{bin.ID, bin.Name}]
		if path == "" {
			var others []string
			for k := range found {
				others = append(others, fmt.Sprintf("%q of %s", k.name, k.id))
			}
			sort.Strings(others)
			if others == nil {
				others = []string{"none"}
			}
			return nil, fmt.Errorf("target %q: cargo built no binary %q of package %q; the binaries it named are: %s",
				b.Target.Triple, bin.Name, bin.Package, strings.Join(others, ", "))
		}
		paths = append(paths, path)
	}
	return paths, nil
}
