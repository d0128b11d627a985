package plan

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"dagger/gantry/ci/release/cargo"
)

// GeneratedDir is where the packer finds the files that binaries print, beside those of
// the source.
const GeneratedDir = ".gantry-generated"

// Generated is a file of the archives that a binary of the release prints.
type Generated struct {
	// Path in the archives.
	Path string
	// Bin is the binary, and Args its arguments.
	Bin  string
	Args []string
}

// addGenerated plans the files that the packages' binaries print.
func (p *Plan) addGenerated(targets []TargetPlan) {
	for i, pkg := range p.component.Packages {
		files := p.component.settings[i].own.Generate
		if len(files) == 0 {
			continue
		}
		bin, err := generator(pkg, p.component.Name, targets)
		if err != nil {
			p.fail("%v", err)
		}
		for _, file := range slices.Sorted(maps.Keys(files)) {
			if clean := path.Clean(file); clean != file || path.IsAbs(file) || file == "." || file == ".." || strings.HasPrefix(file, "../") || strings.ContainsAny(file, "\\\x00") {
				p.fail("generate %q of %s must be the path of a file in the archives, such as \"completions/app.bash\"", file, pkg.Manifest())
				continue
			}
			p.Generated = append(p.Generated, Generated{file, bin, files[file]})
			p.Extra = append(p.Extra, Extra{path.Join(GeneratedDir, file), file})
		}
	}
	slices.SortStableFunc(p.Extra, func(a, b Extra) int { return strings.Compare(a.Path, b.Path) })
}

// generator returns the binary of a package that prints its files: its only one, or the
// one with the name of the package or the component.
func generator(pkg *cargo.Package, component string, targets []TargetPlan) (string, error) {
	var names []string
	for _, t := range targets {
		for _, bin := range t.Binaries {
			if bin.Package == pkg.Name {
				names = union(names, []string{bin.Name})
			}
		}
	}
	for _, name := range []string{pkg.Name, component} {
		if slices.Contains(names, name) {
			return name, nil
		}
	}
	if len(names) != 1 {
		return "", fmt.Errorf("generate of %s runs the binary with the name of the package, but the release has %s: select one with bins", pkg.Manifest(), cargo.List(names))
	}
	return names[0], nil
}

// Native returns the build whose binaries run on an OCI platform and print the generated
// files. It may be of a target that another engine packs.
func (p *Plan) Native(platform string) (Build, error) {
	triples := p.component.Config.targets()
	for _, triple := range union(p.Triples(), triples) {
		b, err := p.component.Build(triple)
		if err != nil {
			return Build{}, err
		}
		if b.Target.Native(platform) {
			return b, nil
		}
	}
	return Build{}, fmt.Errorf("generate runs a binary of the release, but none of the targets runs on %s, where this builds: add one to targets, such as \"x86_64-unknown-linux-musl\" for linux/amd64", platform)
}
