package plan

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"dagger/gantry/ci/nearest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/target"
)

// Build describes one `cargo build`: one target of one component.
type Build struct {
	Target target.Target
	Bins   []cargo.Bin
	Config BuildConfig
	// Command is the Cargo subcommand.
	Command string
	// GitDir lets the build see .git.
	GitDir bool
	// MaxGlibc is the highest glibc version allowed, or empty.
	MaxGlibc string
	// SBOM and Notices are true if its archive has bills of materials and the licenses of
	// its crates.
	SBOM, Notices bool
	// Auditable adds the list of crates to its programs.
	Auditable bool
}

// NeedsCrates reports whether the build must keep what tells its crates.
func (b Build) NeedsCrates() bool { return b.SBOM || b.Notices || b.Auditable }

// Build returns the build of one target.
func (c *Component) Build(triple string) (Build, error) {
	if len(c.conflicts) > 0 {
		return Build{}, fmt.Errorf("component %q can't be built in one go: %s: set it in [workspace.metadata.gantry] instead, or pass --component with a component of one package", c.Name, strings.Join(c.conflicts, "; "))
	}
	return c.build(triple)
}

// build is Build for a plan, which reports conflicts itself.
func (c *Component) build(triple string) (Build, error) {
	t, err := target.Lookup(triple)
	if err != nil {
		return Build{}, err
	}
	bins, err := c.bins(triple)
	if err != nil {
		return Build{}, err
	}
	for i, pkg := range c.Packages {
		for _, f := range c.settings[i].own.forTarget(triple).Features {
			if !pkg.HasFeature(f) {
				return Build{}, fmt.Errorf("package %q has no feature %q%s", pkg.Name, f, nearest.Hint(f, slices.Sorted(maps.Keys(pkg.Features))))
			}
		}
	}
	config, _ := c.combineBuild(triple)
	config.Profile = cmp.Or(config.Profile, defaultProfile)
	return Build{
		Target: t, Bins: bins, Config: config, Command: cmp.Or(c.Config.CargoCommand, DefaultCargoCommand),
		GitDir: isTrue(c.Config.GitDir), MaxGlibc: c.Config.MaxGlibc,
		SBOM: !t.Joined && !isFalse(c.Config.SBOM), Notices: !t.Joined && !isFalse(c.Config.Notices),
		Auditable: t.Format == "elf" && isTrue(c.Config.Auditable),
	}, nil
}

// bins returns the binaries of the component for a target, sorted by name.
func (c *Component) bins(triple string) ([]cargo.Bin, error) {
	var out []cargo.Bin
	for i, pkg := range c.Packages {
		set := c.settings[i]
		cfg := set.merged.forTarget(triple)
		built := pkg.Bins(cfg.cargo())
		if own := set.own.forTarget(triple).Bins; slices.Equal(own, cfg.Bins) {
			for _, want := range own {
				if !slices.Contains(built, want) {
					return nil, fmt.Errorf("component %q has no binary %q for %s%s (it has: %s)", c.Name, want, triple, nearest.Hint(want, built), strings.Join(built, ", "))
				}
			}
		}
		for _, name := range narrow(built, cfg.Bins) {
			out = append(out, cargo.Bin{Name: name, Package: pkg.Name, Version: pkg.Version, ID: pkg.ID})
		}
	}
	slices.SortStableFunc(out, func(a, b cargo.Bin) int { return strings.Compare(a.Name, b.Name) })
	if len(out) == 0 {
		return nil, fmt.Errorf("component %q has no binary for %s", c.Name, triple)
	}
	return out, nil
}

// narrow returns the names that are wanted; none wanted means all.
func narrow(names, wanted []string) []string {
	if len(wanted) == 0 {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(wanted, n) })
}

// Args returns Cargo's arguments after the subcommand, except the targets and
// those that every build has.
func (b Build) Args() []string {
	args := []string{"--locked", "--profile", b.Config.Profile}
	for _, bin := range b.Bins {
		args = append(args, "--bin", bin.Name)
	}
	return append(args, b.Selection()...)
}

// Selection returns those of Cargo's arguments that select packages and features, which
// decide about the crates of a build.
func (b Build) Selection() []string {
	var packages, args []string
	for _, bin := range b.Bins {
		// A dependency may have the package's name.
		packages = append(packages, bin.Package+"@"+bin.Version)
	}
	slices.Sort(packages)
	for _, p := range slices.Compact(packages) {
		args = append(args, "--package", p)
	}
	if isTrue(b.Config.AllFeatures) {
		args = append(args, "--all-features")
	}
	if isTrue(b.Config.NoDefaultFeatures) {
		args = append(args, "--no-default-features")
	}
	if len(b.Config.Features) > 0 {
		args = append(args, "--features", strings.Join(b.Config.Features, ","))
	}
	return args
}

// TargetArg returns the target as the Cargo subcommand takes it. cargo-zigbuild links
// against the version of glibc that follows the triple.
func (b Build) TargetArg() string {
	if b.Command == "zigbuild" && b.Target.Libc == "gnu" && b.MaxGlibc != "" {
		return b.Target.Triple + "." + b.MaxGlibc
	}
	return b.Target.Triple
}

// Group collects the builds that one call of Cargo can make: those that differ
// only in their target. Proc macros, build scripts and their dependencies are then
// compiled once, and no core idles while one target is being linked. Builds that
// install Debian packages are never grouped, since the packages of two
// architectures may conflict.
func Group(builds []Build) [][]Build {
	var groups [][]Build
	for _, b := range builds {
		i := slices.IndexFunc(groups, func(g []Build) bool { return g[0].groupsWith(b) })
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], b)
	}
	return groups
}

func (b Build) groupsWith(other Build) bool {
	return b.Command == DefaultCargoCommand && len(b.Config.Packages) == 0 &&
		b.Command == other.Command && b.GitDir == other.GitDir && b.NeedsCrates() == other.NeedsCrates() &&
		reflect.DeepEqual(b.Config, other.Config) && slices.Equal(b.Bins, other.Bins)
}

// CheckNameClashes returns an error if two packages build a binary of one name,
// which can't be in one directory.
func CheckNameClashes(builds []Build) error {
	from := map[string]cargo.Bin{}
	for _, b := range builds {
		for _, bin := range b.Bins {
			if other, dup := from[bin.Name]; dup && other.ID != bin.ID {
				return fmt.Errorf("packages %q and %q both build a binary %q: pass --component to build only one", other.Package, bin.Package, bin.Name)
			}
			from[bin.Name] = bin
		}
	}
	return nil
}
