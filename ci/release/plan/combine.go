package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strings"
)

// sharedKeys are the keys that a release of several packages has once.
var sharedKeys = []struct {
	name  string
	value func(Config) any
	set   func(to *Config, from Config)
}{
	{"archive", func(c Config) any { return or(c.Archive, DefaultArchive) }, func(to *Config, from Config) { to.Archive = from.Archive }},
	{"max-glibc", func(c Config) any { return c.MaxGlibc }, func(to *Config, from Config) { to.MaxGlibc = from.MaxGlibc }},
	{"cargo-command", func(c Config) any { return or(c.CargoCommand, DefaultCargoCommand) }, func(to *Config, from Config) { to.CargoCommand = from.CargoCommand }},
	{"targets", func(c Config) any { return sorted(c.targets()) }, func(to *Config, from Config) { to.Targets = from.Targets }},
	{"changelog.config", func(c Config) any { return c.Changelog.Config }, func(to *Config, from Config) { to.Changelog.Config = from.Changelog.Config }},
}

// sharedBuildKeys are the keys that one build of several packages has once.
var sharedBuildKeys = []struct {
	name  string
	value func(BuildConfig) any
}{
	{"profile", func(b BuildConfig) any { return or(b.Profile, DefaultProfile) }},
	{"all-features", func(b BuildConfig) any { return isTrue(b.AllFeatures) }},
	{"no-default-features", func(b BuildConfig) any { return isTrue(b.NoDefaultFeatures) }},
	{"env", func(b BuildConfig) any {
		if len(b.Env) == 0 {
			return map[string]string{}
		}
		return b.Env
	}},
}

// combine makes the configuration of a component of several packages from theirs.
// A package keeps its settings where it can (see [Component.settings] and
// combineBuild), and lists are joined. One build and one archive have all other
// keys once: a key on which the packages differ is a conflict.
func (c *Component) combine(workspace Config) {
	c.Config = workspace
	c.Config.Name, c.Config.TagPrefix = c.Name, nil
	for _, key := range sharedKeys {
		var values []packageValue
		for i, s := range c.settings {
			values = append(values, packageValue{c.Packages[i].Manifest(), key.value(s.merged)})
		}
		if conflict := differ(key.name, values); conflict != "" {
			c.conflicts = append(c.conflicts, conflict)
		} else {
			key.set(&c.Config, c.settings[0].merged)
		}
	}
	var images []packageValue
	for i, s := range c.settings {
		if isTrue(s.merged.SBOM) {
			c.Config.SBOM = s.merged.SBOM
		}
		if isTrue(s.merged.GitDir) {
			c.Config.GitDir = s.merged.GitDir
		}
		if own := s.own.Latest; own != nil && !isTrue(c.Config.Latest) {
			c.Config.Latest = own
		}
		c.Config.Changelog.Paths = union(c.Config.Changelog.Paths, s.own.Changelog.Paths)
		if s.own.Image != nil {
			images = append(images, packageValue{c.Packages[i].Manifest(), *s.merged.Image})
			c.Config.Image = s.merged.Image
		}
	}
	if conflict := differ("image", images); conflict != "" {
		c.conflicts = append(c.conflicts, conflict)
	}
	c.conflicts = append(c.conflicts, c.buildConflicts()...)
}

// buildConflicts returns the conflicts of the builds. Those that only some targets
// have name them.
func (c *Component) buildConflicts() []string {
	targets := map[string][]string{}
	for _, triple := range c.Config.targets() {
		_, conflicts := c.combineBuild(triple)
		for _, conflict := range conflicts {
			targets[conflict] = append(targets[conflict], triple)
		}
	}
	var out []string
	for _, conflict := range slices.Sorted(maps.Keys(targets)) {
		if len(targets[conflict]) < len(c.Config.targets()) {
			conflict += " for " + strings.Join(targets[conflict], ", ")
		}
		out = append(out, conflict)
	}
	return out
}

// packageValue is a package's value of a key.
type packageValue struct {
	manifest string
	value    any
}

// differ describes how the packages' values of a key differ, or is empty.
func differ(key string, values []packageValue) string {
	var texts, lines []string
	for _, v := range values {
		text, err := json.Marshal(v.value)
		if err != nil {
			text = []byte(err.Error())
		}
		texts = append(texts, string(text))
		lines = append(lines, fmt.Sprintf("%s for %s", text, v.manifest))
	}
	if len(slices.Compact(texts)) < 2 {
		return ""
	}
	return fmt.Sprintf("%s is %s", key, strings.Join(lines, " and "))
}

// combineBuild returns the build configuration for a target, and the conflicts of
// the packages. A feature that a package inherits from the workspace counts only if
// it has it.
func (c *Component) combineBuild(triple string) (BuildConfig, []string) {
	var cfgs []BuildConfig
	for _, s := range c.settings {
		cfgs = append(cfgs, s.merged.forTarget(triple))
	}
	out := cfgs[0]
	out.Features = c.features(cfgs)
	if len(cfgs) == 1 {
		return out, nil
	}
	var conflicts []string
	check := func(key string, values []packageValue) {
		if conflict := differ(key, values); conflict != "" {
			conflicts = append(conflicts, conflict)
		}
	}
	for _, key := range sharedBuildKeys {
		var values []packageValue
		for i, b := range cfgs {
			values = append(values, packageValue{c.Packages[i].Manifest(), key.value(b)})
		}
		check(key.name, values)
	}
	out.Bins, out.PreBuild = nil, ""
	var commands []packageValue
	for i, b := range cfgs {
		out.Packages = union(out.Packages, b.Packages)
		if b.PreBuild != "" {
			commands = append(commands, packageValue{c.Packages[i].Manifest(), b.PreBuild})
			out.PreBuild = b.PreBuild
		}
	}
	check("pre-build", commands)
	return out, conflicts
}

// features returns the features to build with. If the packages differ in them,
// each feature names its package, so that one call of Cargo gives each package only
// what it set.
func (c *Component) features(cfgs []BuildConfig) []string {
	each := make([][]string, len(cfgs))
	same := true
	for i, cfg := range cfgs {
		for _, f := range cfg.Features {
			if c.Packages[i].HasFeature(f) {
				each[i] = append(each[i], f)
			}
		}
		same = same && reflect.DeepEqual(each[i], each[0])
	}
	if same {
		return each[0]
	}
	var out []string
	for i, features := range each {
		for _, f := range features {
			if !strings.Contains(f, "/") {
				f = c.Packages[i].Name + "/" + f
			}
			out = union(out, []string{f})
		}
	}
	return out
}

// union returns a followed by what only b has, without changing either.
func union(a, b []string) []string {
	for _, name := range b {
		if !slices.Contains(a, name) {
			a = append(slices.Clone(a), name)
		}
	}
	return a
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	sort.Strings(names)
	return names
}
