package plan

import (
	"path"
	"slices"
	"strings"

	"dagger/gantry/ci/release/cargo"
)

// checkLock reports why Cargo would refuse to build with --locked. Cargo.lock must
// have each package of the workspace at its version, and each of their
// dependencies, also optional ones and those of tests and other platforms
// ("Cargo.toml vs Cargo.lock", The Cargo Book). Cargo itself checks whether the
// locked versions satisfy the requirements.
func (p *Plan) checkLock(project *Project) {
	if !project.hasFile("Cargo.lock") {
		p.fail("Cargo.lock is missing, so the build is not repeatable: run cargo generate-lockfile and commit it")
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
			p.fail("Cargo.lock has version %s of package %q, but %s has %s: %s", strings.Join(versions, ", "), pkg.Name, pkg.Manifest(), pkg.Version, remedy)
		default:
			p.fail("Cargo.lock does not have package %q of %s: %s", pkg.Name, pkg.Manifest(), remedy)
		}
		for _, d := range pkg.Dependencies {
			if !lock.Has(d.Name) {
				p.fail("Cargo.lock does not have %q, which %s depends on: %s", d.Name, pkg.Manifest(), remedy)
			}
		}
	}
}

// checkSource reports what the source lacks: packages that others name by their
// path, submodules, and the contents of files in Git LFS.
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
				p.fail("%s depends on package %q at %q, which is outside of the source: pass the directory that has both as --source, and the workspace with --manifest-path", from, d.Name, dir)
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
				p.fail("%q would go into the archives, but it is a Git LFS pointer: %s", e.Source, remedy)
			}
		}
		p.warn("the source has Git LFS pointers instead of contents, such as %q (%d in all): if the build needs the contents, %s", git.Pointers[0], n, remedy)
	}
}

// checkRust warns of packages that the toolchain's Rust does not compile. It is no error:
// their binaries may be built elsewhere.
func (p *Plan) checkRust(project *Project) {
	for _, pkg := range p.component.Packages {
		if cargo.Older(project.Rustc, pkg.RustVersion) {
			p.warn("package %q needs Rust %s, but the toolchain has %s: set channel = %q in rust-toolchain.toml, or pass --toolchain with a container that has it", pkg.Name, pkg.RustVersion, project.Rustc, pkg.RustVersion)
		}
	}
}

// has reports whether a directory, by its path from the workspace, contains a
// package. A directory behind a symlink counts: only Cargo can tell.
func (p *Project) has(dir string) bool {
	if p.hasFile(path.Join(dir, "Cargo.toml")) {
		return true
	}
	for d := dir; d != "." && d != "/" && path.Base(d) != ".."; d = path.Dir(d) {
		if p.hasFile(d) {
			return true
		}
	}
	return false
}
