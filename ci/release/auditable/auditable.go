// Package auditable adds the list of crates to a program, as cargo-auditable does
// (https://github.com/rust-secure-code/cargo-auditable), so that scanners find them in
// the program itself and in every image that has it.
//
// It is pure. It keeps two invariants: no byte of the program changes, except for the
// header that finds its sections, and the same input gives the same bytes.
package auditable

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/release/cargo"
)

// Section is the name of the section that has the list, compressed by zlib.
const Section = ".dep-v0"

// format of the list: procedural macros and their dependencies are build dependencies.
const format = 1

type list struct {
	Packages []entry `json:"packages"`
	Format   int     `json:"format"`
}

// entry is a crate. Dependencies are sorted indices in the list.
type entry struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Source       string `json:"source"`
	Kind         string `json:"kind,omitempty"`
	Dependencies []int  `json:"dependencies,omitempty"`
	Root         bool   `json:"root,omitempty"`
}

// sources are the names of the crates' origins in a list.
var sources = map[string]string{cargo.FromCratesIO: "crates.io", cargo.FromRegistry: "registry", cargo.FromGit: "git", cargo.FromPath: "local"}

// Data returns the content of the section for a binary of a package: the crates that the
// package depends on.
func Data(crates []cargo.Crate, pkg string) ([]byte, error) {
	root := slices.IndexFunc(crates, func(c cargo.Crate) bool { return c.Root && c.Name == pkg })
	if root < 0 {
		return nil, fmt.Errorf("no crate of the build is package %q", pkg)
	}
	used := make([]bool, len(crates))
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		if i := todo[0]; !used[i] {
			used[i] = true
			todo = append(todo, crates[i].Dependencies...)
		}
	}
	index := make([]int, len(crates))
	n := 0
	for i := range crates {
		index[i] = n
		if used[i] {
			n++
		}
	}
	all := list{Packages: []entry{}, Format: format}
	for i, c := range crates {
		if !used[i] {
			continue
		}
		e := entry{Name: c.Name, Version: c.Version, Source: sources[c.From], Root: i == root}
		if !c.Linked {
			e.Kind = "build"
		}
		for _, d := range c.Dependencies {
			e.Dependencies = append(e.Dependencies, index[d])
		}
		all.Packages = append(all.Packages, e)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := archive.NewZlibWriter(&b)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}
