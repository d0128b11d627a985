package cargo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// TargetDir is Cargo's target directory in a build.
const TargetDir = "/gantry/target"

// Bin is a binary and the package that builds it.
type Bin struct {
	Name    string `json:"name"`
	Package string `json:"package"`
	// Version of the package.
	Version string `json:"-"`
	// ID of the package in Cargo's messages.
	ID string `json:"-"`
}

// artifact is a message of Cargo about something that it compiled, see
// https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages.
type artifact struct {
	Reason       string   `json:"reason"`
	PackageID    string   `json:"package_id"`
	ManifestPath string   `json:"manifest_path"`
	Target       Target   `json:"target"`
	Filenames    []string `json:"filenames"`
	Executable   string   `json:"executable"`
}

// artifacts reads Cargo's messages, one a line.
func artifacts(messages string) ([]artifact, error) {
	var all []artifact
	for line := range strings.Lines(messages) {
		var a artifact
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			return nil, fmt.Errorf("read cargo's messages: %w", err)
		}
		all = append(all, a)
	}
	return all, nil
}

// Executables returns the paths of binaries in Cargo's messages, in the order of
// bins. An executable only counts for the package that Cargo names, and where dir
// is not empty, only below it.
func Executables(messages, dir string, bins []Bin) ([]string, error) {
	all, err := artifacts(messages)
	if err != nil {
		return nil, err
	}
	type key struct{ id, name string }
	found := map[key]string{}
	for _, a := range all {
		if dir != "" && !strings.HasPrefix(a.Executable, dir+"/") {
			continue
		}
		if a.Reason == "compiler-artifact" && a.Executable != "" && slices.Contains(a.Target.Kind, "bin") {
			found[key{a.PackageID, a.Target.Name}] = a.Executable
		}
	}
	var paths []string
	for _, bin := range bins {
		path := found[key{bin.ID, bin.Name}]
		if path == "" {
			others := []string{}
			for k := range found {
				others = append(others, fmt.Sprintf("%q of %s", k.name, k.id))
			}
			slices.Sort(others)
			return nil, fmt.Errorf("cargo built no binary %q of package %q; it built: %s", bin.Name, bin.Package, List(others))
		}
		paths = append(paths, path)
	}
	return paths, nil
}
