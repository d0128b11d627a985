package plan

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"dagger/gantry/ci/release/cargo"
)

// licenseName matches the usual names of files that must be shipped.
var licenseName = regexp.MustCompile(`^(?i)(licen[sc]e|copying|notice|unlicense|copyright)([-._].*)?$`)

// addFiles finds the files that go into archives.
func (p *Plan) addFiles(project *Project) {
	files := project.files
	sources := map[string]string{} // by their paths in archives
	add := func(source, dest string) {
		if other, dup := sources[dest]; dup {
			if other != source {
				p.fail("%q and %q would both be %q in the archives: rename one", other, source, dest)
			}
			return
		}
		sources[dest] = source
		source = path.Join(project.Dir, source)
		if wrong := project.BadLinks[source]; wrong != "" {
			p.fail("%q %s", source, wrong)
		}
		p.Extra = append(p.Extra, Extra{source, dest})
	}
	// The package's files win over the workspace's of the same name, in any case.
	// Two in one directory clash, which checkLayouts reports.
	spelled := map[string][]string{} // the sources, by their names in lower case
	addNew := func(source string) {
		base := path.Base(source)
		folded := strings.ToLower(base)
		for _, other := range spelled[folded] {
			if path.Base(other) == base || path.Dir(other) != path.Dir(source) {
				return
			}
		}
		spelled[folded] = append(spelled[folded], source)
		add(source, base)
	}
	var dirs []string
	for _, pkg := range p.component.Packages {
		dirs = append(dirs, pkg.Dir)
		p.namedFiles(pkg, project, addNew)
	}
	usual := map[string][]string{} // files that must be shipped, by their directories
	for _, f := range files {
		if base := path.Base(f); licenseName.MatchString(base) || strings.EqualFold(base, "README.md") {
			usual[path.Dir(f)] = append(usual[path.Dir(f)], f)
		}
	}
	for _, dir := range append(append(dirs, "."), project.parentDirs()...) {
		for _, f := range usual[dir] {
			addNew(f)
		}
	}
	for _, inc := range p.component.include {
		p.include(inc, files, add)
	}
	slices.SortFunc(p.Extra, func(a, b Extra) int { return strings.Compare(a.Path, b.Path) })
}

// namedFiles adds the license and the readme that a package's Cargo.toml names.
// Cargo itself names readmes that may not exist.
func (p *Plan) namedFiles(pkg *cargo.Package, project *Project, add func(source string)) {
	for _, named := range []string{pkg.LicenseFile, pkg.Readme} {
		file := path.Join(pkg.Dir, named)
		switch {
		case named == "":
		case project.hasFile(file):
			add(file)
		case named == pkg.LicenseFile:
			p.fail("license-file %q of package %q is missing (looked for %q)", named, pkg.Name, file)
		}
	}
}

// include adds the files that match a glob.
func (p *Plan) include(inc include, files []string, add func(source, dest string)) {
	clean := path.Clean(inc.glob)
	where := path.Join(inc.dir, "Cargo.toml")
	if path.IsAbs(inc.glob) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(inc.glob, "\\\x00") {
		p.fail("include %q of %s would escape the archive: name files below the directory of that Cargo.toml", inc.glob, where)
		return
	}
	if !doublestar.ValidatePattern(clean) {
		p.fail("include %q of %s is not a valid glob", inc.glob, where)
		return
	}
	// A directory includes everything in it.
	matches := func(f string) bool {
		return doublestar.MatchUnvalidated(clean, f) || doublestar.MatchUnvalidated(clean+"/**", f)
	}
	found := false
	prefix := ""
	candidates := files
	if inc.dir != "." {
		prefix = inc.dir + "/"
		from, _ := slices.BinarySearch(files, prefix)
		candidates = files[from:]
	}
	for _, f := range candidates {
		rel, below := strings.CutPrefix(f, prefix)
		if !below { // the files are sorted
			break
		}
		if !strings.HasPrefix(rel, "../") && matches(rel) {
			found = true
			add(f, rel)
		}
	}
	if !found {
		hint := ""
		if inc.dir != "." && slices.ContainsFunc(files, func(f string) bool { return doublestar.MatchUnvalidated(clean, f) }) {
			hint = "; it matches from the workspace's root: move the key to [workspace.metadata.gantry]"
		}
		p.fail("include %q of %s matches no file below %q%s", inc.glob, where, inc.dir, hint)
	}
}

// parentDirs returns the directories of the source above the workspace, by their paths
// from it, the nearest first.
func (p *Project) parentDirs() []string {
	var dirs []string
	up := ".."
	for d := p.Dir; d != "."; d = path.Dir(d) {
		dirs = append(dirs, up)
		up += "/.."
	}
	return dirs
}

// addChangelog finds the paths and the configuration of the changelog.
func (p *Plan) addChangelog(project *Project) {
	p.ChangelogPaths = p.component.changelogPaths(project.Dir)
	if cfg := p.component.Config.Changelog.Config; cfg != "" {
		p.ChangelogConfig = path.Join(project.Dir, cfg)
		if !project.hasFile(path.Clean(cfg)) {
			p.fail("changelog config %q is missing", cfg)
		}
		return
	}
	for _, dir := range append([]string{"."}, project.parentDirs()...) {
		if own := path.Join(dir, "cliff.toml"); project.hasFile(own) {
			p.ChangelogConfig = path.Join(project.Dir, own)
			return
		}
	}
}

// changelogPaths returns the globs whose changes belong to the component of a
// workspace in dir; none means every change.
func (c *Component) changelogPaths(dir string) []string {
	if c.everything && dir == "." {
		return nil
	}
	var globs []string
	if c.everything {
		globs = append(globs, "**")
	}
	for _, d := range c.dirs() {
		switch outside := d == ".." || strings.HasPrefix(d, "../"); {
		case c.everything && !outside:
		case d == ".":
			// The other members are below a workspace's root package, so only its own
			// sources count.
			globs = append(globs, "src/**", "build.rs", "Cargo.toml")
		default:
			globs = append(globs, d+"/**")
		}
	}
	globs = append(globs, c.Config.Changelog.Paths...)
	for i, g := range globs {
		globs[i] = path.Join(dir, g)
	}
	return globs
}
