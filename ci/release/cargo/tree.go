package cargo

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// treePackage is a package as `cargo tree` prints it.
type treePackage struct {
	Name, Version string
	// Source is a path, a URL or a registry; empty for crates.io.
	Source              string
	License, Repository string
}

// tree is the graph of dependencies that `cargo tree` prints.
type tree struct {
	packages []treePackage
	// dependencies of each package: sorted indices in packages.
	dependencies [][]int
	// roots are the packages that were asked for.
	roots []int
}

// treeLine is what the format of bill.sh prints: the depth, and between tabs the
// package, its license and its repository. "(*)" ends the line of a package whose
// dependencies were printed before.
var treeLine = regexp.MustCompile(`^(\d+)\t(\S+) v(\S+?)(?: \(proc-macro\))?(?: \((.*)\))?\t([^\t]*)\t([^\t]*)\t(?: \(\*\))?$`)

// readTree reads the output of `cargo tree` in the format of
// ci/release/toolchain/bill.sh. A package that is built twice, for the target and for
// programs that run while building, has the dependencies of both.
func readTree(text string) (*tree, error) {
	t := &tree{}
	index := map[treePackage]int{}
	var parents []int // the package of each depth above the line
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" { // between the trees of several packages
			continue
		}
		m := treeLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("read the output of cargo tree: unknown line %q", line)
		}
		depth, err := strconv.Atoi(m[1])
		if err != nil || depth > len(parents) {
			return nil, fmt.Errorf("read the output of cargo tree: line %q has no parent", line)
		}
		p := treePackage{Name: m[2], Version: m[3], Source: m[4], License: m[5], Repository: m[6]}
		i, found := index[p]
		if !found {
			i = len(t.packages)
			index[p] = i
			t.packages, t.dependencies = append(t.packages, p), append(t.dependencies, nil)
		}
		if parents = append(parents[:depth], i); depth == 0 {
			t.roots = insert(t.roots, i)
		} else {
			parent := parents[depth-1]
			t.dependencies[parent] = insert(t.dependencies[parent], i)
		}
	}
	return t, nil
}

// insert adds a number to a sorted list without duplicates.
func insert(list []int, n int) []int {
	i, found := slices.BinarySearch(list, n)
	if found {
		return list
	}
	return slices.Insert(list, i, n)
}

// isFrom reports whether a package may come from a source that Cargo.lock or a message
// names. Only crates.io has no name in the tree, and a registry may have any.
func (p treePackage) isFrom(source string) bool {
	kind, address, _ := strings.Cut(source, "+")
	switch kind {
	case "registry", "sparse":
		return p.Source == "" && isCratesIO(source) || strings.HasPrefix(p.Source, "registry ") && !isCratesIO(source)
	case "git":
		// Both have the query that selects a commit. The commit itself is cut short in the
		// tree, and is missing in messages.
		address, _, _ = strings.Cut(address, "#")
		shown, _, _ := strings.Cut(p.Source, "#")
		return shown == address
	case "path":
		return strings.TrimPrefix(address, "file://") == p.Source
	}
	return source == "" && p.Source != "" && !strings.HasPrefix(p.Source, "registry ") && !strings.Contains(p.Source, "#")
}

// one returns the element of a list that is the package: by its source, or as the only
// one of its name and version, since Cargo writes the same source in several ways. It
// returns nil if there is none.
func one[T any](list []T, p treePackage, id func(T) (name, version, source string)) *T {
	var same []*T
	for i := range list {
		name, version, source := id(list[i])
		if name != p.Name || version != p.Version {
			continue
		}
		if p.isFrom(source) {
			return &list[i]
		}
		same = append(same, &list[i])
	}
	if len(same) == 1 {
		return same[0]
	}
	return nil
}
