package plan

import (
	"path"
	"slices"
	"sort"
	"strings"

	"dagger/gantry/ci/release/cargo"
)

// checkLock finds what Cargo would refuse to build with --locked: Cargo.lock
// has each package of the workspace at its version, and each package that one
// of them names as a dependency, optional ones and those of tests and of other
// platforms too ("Cargo.toml vs Cargo.lock", The Cargo Book). Whether the
// locked versions satisfy what is asked for is left to Cargo itself.
func (p *Plan) checkLock(project *Project) {
	if !project.files["Cargo.lock"] {
		p.fail("Cargo.lock is missing, so the build could not be repeated: run cargo generate-lockfile and commit it")
		return
	}
	if project.Lock == "" {
		return
	}
	lock, err := cargo.ReadLock(project.Lock)
	if err != nil {
		p.fail("Cargo.lock cannot be read (%v): run cargo generate-lockfile and commit it", err)
		return
	}
	const remedy = "run cargo update --workspace, and commit Cargo.lock"
	for _, pkg := range project.packages {
		switch versions := lock.ProjectVersions(pkg.Name); {
		case slices.Contains(versions, pkg.Version):
		case len(versions) > 0:
			p.fail("Cargo.lock has version %s of package %q, but %s says %s: %s", strings.Join(versions, ", "), pkg.Name, pkg.Manifest(), pkg.Version, remedy)
		default:
			p.fail("Cargo.lock does not have package %q of %s: %s", pkg.Name, pkg.Manifest(), remedy)
		}
		for _, name := range dependencyNames(pkg) {
			if !lock.Has(name) {
				p.fail("Cargo.lock does not have %q, which %s depends on: %s", name, pkg.Manifest(), remedy)
			}
		}
	}
}

func dependencyNames(pkg *cargo.Package) []string {
	var names []string
	for _, d := range pkg.Dependencies {
		names = append(names, d.Name)
	}
	sort.Strings(names)
	return slices.Compact(names)
}

// checkSource finds what the source lacks: packages that others name by their
// path, submodules, and the contents of files that are kept elsewhere.
func (p *Plan) checkSource(project *Project, git Git) {
	missing := map[string]bool{}
	for _, pkg := range project.packages {
		for _, d := range pkg.Dependencies {
			dir := d.Dir
			if d.Path == "" || project.has(dir) || missing[dir] {
				continue
			}
			missing[dir] = true
			from := pkg.Manifest()
			inSource := path.Join(project.Dir, dir)
			submodule := slices.IndexFunc(git.Submodules, func(s string) bool { return inSource == s || strings.HasPrefix(inSource, s+"/") })
			switch {
			case submodule >= 0:
				p.fail("%s depends on package %q in %q, a submodule that is not checked out: run git submodule update --init --recursive (on GitHub Actions: submodules: recursive)", from, d.Name, git.Submodules[submodule])
			case inSource == ".." || strings.HasPrefix(inSource, "../"):
				p.fail("%s depends on package %q at %q, which is outside of the source: pass the folder that has both as --source, and the workspace with --manifest-path", from, d.Name, dir)
			default:
				p.fail("%s depends on package %q, but %q is missing", from, d.Name, path.Join(dir, "Cargo.toml"))
			}
		}
	}
	if n := len(git.Submodules); n > 0 && len(missing) == 0 {
		p.warn("submodule %s is not checked out: if the build needs it, run git submodule update --init --recursive (on GitHub Actions: submodules: recursive)", strings.Join(git.Submodules, ", "))
	}
	if n := len(git.Pointers); n > 0 {
		const remedy = "run git lfs pull (on GitHub Actions: lfs: true)"
		for _, e := range p.Extra {
			if slices.Contains(git.Pointers, e.Source) {
				p.fail("%q would go into the archives, but it is a pointer of Git LFS and not the file itself: %s", e.Source, remedy)
			}
		}
		p.warn("%d of the files are pointers of Git LFS, such as %q: if the build needs what they point to, %s", n, git.Pointers[0], remedy)
	}
}

// has a package in a folder, by its path from the workspace. A folder that is
// reached through a link counts as one: what is behind it is Cargo's to find.
func (p *Project) has(dir string) bool {
	if p.files[path.Join(dir, "Cargo.toml")] {
		return true
	}
	for d := dir; d != "." && d != "/" && path.Base(d) != ".."; d = path.Dir(d) {
		if p.files[d] {
			return true
		}
	}
	return false
}
