package plan

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/nearest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/target"
)

var (
	cargoCommand = regexp.MustCompile(`^[a-z][a-z0-9-]*( build)?$`)
	// The cc crate also reads a target with dashes, "CC_x86_64-pc-linux-gnu".
	envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
)

// checkShared checks the names in the workspace's table that each package takes
// its part of. A name that no package has is a mistake.
func checkShared(w *cargo.Workspace, workspace Config) error {
	var bins, features []string
	for _, pkg := range w.Packages {
		bins = append(bins, pkg.AllBins()...)
		features = append(features, slices.Sorted(maps.Keys(pkg.Features))...)
	}
	var errs []error
	check := func(cfg BuildConfig, where string) {
		for _, name := range cfg.Bins {
			if !slices.Contains(bins, name) {
				errs = append(errs, fmt.Errorf("%s: no package has the binary %q in bins%s (known: %s)", where, name, nearest.Hint(name, bins), cargo.List(bins)))
			}
		}
		for _, f := range cfg.Features {
			if !slices.ContainsFunc(w.Packages, func(p *cargo.Package) bool { return p.HasFeature(f) }) {
				errs = append(errs, fmt.Errorf("%s: no package has the feature %q in features%s", where, f, nearest.Hint(f, features)))
			}
		}
	}
	const where = "Cargo.toml [workspace.metadata.gantry]"
	if len(workspace.Generate) > 0 {
		errs = append(errs, fmt.Errorf("%s: generate runs the binary of a package: move it to the [package.metadata.gantry] of that package", where))
	}
	check(workspace.BuildConfig, where)
	for _, triple := range slices.Sorted(maps.Keys(workspace.Target)) {
		check(workspace.Target[triple], where+" target "+triple)
	}
	return errors.Join(errs...)
}

// check finds the mistakes in the component's configuration that don't depend on a
// tag.
func (c *Component) check() error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("component %q: "+format, append([]any{c.Name}, args...)...))
	}
	if policy := c.Config.Prerelease; policy != "" && policy != policyExact && policy != policyCore {
		fail("unknown prerelease policy %q: use %q or %q", policy, policyExact, policyCore)
	}
	checkSign(c.Config.Sign, fail)
	if max := c.Config.MaxGlibc; max != "" {
		if err := binary.ParseGlibc(max); err != nil {
			fail("max-glibc %q: %w", max, err)
		}
	}
	if cmd := c.Config.CargoCommand; cmd != "" && !cargoCommand.MatchString(cmd) {
		fail("cargo-command %q is not a Cargo subcommand: write one such as \"zigbuild\" or \"xwin build\"", cmd)
	}
	checkEnv(c.Config.Env, fail)
	for _, triple := range slices.Sorted(maps.Keys(c.Config.Target)) {
		if _, err := target.Lookup(triple); err != nil {
			fail("target table: %w", err)
		}
		checkEnv(c.Config.Target[triple].Env, fail)
	}
	seen := map[string]bool{}
	for _, triple := range c.Config.targets() {
		if seen[triple] {
			fail("target %q is listed twice", triple)
		}
		seen[triple] = true
		if _, err := c.build(triple); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Config.Image != nil {
		checkImageInclude(c.Config.Image.Include, fail)
	}
	return errors.Join(errs...)
}

func checkEnv(env map[string]string, fail func(format string, args ...any)) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !envName.MatchString(name) {
			fail("%q is not the name of an environment variable: use letters, digits and _; the target in names such as CC_<target> may also have - and .", name)
		}
		if strings.ContainsRune(env[name], 0) {
			fail("the value of env %q contains a NUL character", name)
		}
	}
}

func checkImageInclude(include map[string]string, fail func(format string, args ...any)) {
	for _, from := range slices.Sorted(maps.Keys(include)) {
		if _, err := notation.CleanPath(from); err != nil {
			fail("image include %q: %w", from, err)
		}
		if to := include[from]; !path.IsAbs(to) {
			fail("image include %q goes to %q, which is not an absolute path in the image", from, to)
		}
	}
}
