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

// combine makes the configuration of a component of several packages out of
// theirs. What can be followed for each package is (see [Component.settings] and
// buildConfig), and what adds up is added up. One build and one archive have
// everything else once: where the packages differ in it, the component has a
// conflict, which names the key.
func (c *Component) combine(workspace Config) {
	c.Config = workspace
	c.Config.Name, c.Config.TagPrefix = c.Name, nil
	first := c.settings[0].merged
	for _, k := range []struct {
		key   string
		value func(*Config) any
		take  func()
	}{
		{"archive", func(cfg *Config) any { return or(cfg.Archive, DefaultArchive) }, func() { c.Config.Archive = first.Archive }},
		{"max-glibc", func(cfg *Config) any { return cfg.MaxGlibc }, func() { c.Config.MaxGlibc = first.MaxGlibc }},
		{"cargo-command", func(cfg *Config) any { return or(cfg.CargoCommand, DefaultCargoCommand) }, func() { c.Config.CargoCommand = first.CargoCommand }},
		{"targets", func(cfg *Config) any { return sorted(cfg.targets()) }, func() { c.Config.Targets = first.Targets }},
		{"changelog.config", func(cfg *Config) any { return cfg.Changelog.Config }, func() { c.Config.Changelog.Config = first.Changelog.Config }},
	} {
		values := make([]any, len(c.settings))
		for i := range c.settings {
			values[i] = k.value(&c.settings[i].merged)
		}
		if conflict := c.disagree(k.key, values); conflict != "" {
			c.conflicts = append(c.conflicts, conflict)
		} else {
			k.take()
		}
	}
	var images []any
	owners := &Component{}
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
		for _, glob := range s.own.Changelog.Paths {
			if !slices.Contains(c.Config.Changelog.Paths, glob) {
				c.Config.Changelog.Paths = append(slices.Clone(c.Config.Changelog.Paths), glob)
			}
		}
		if s.own.Image != nil {
			images = append(images, *s.merged.Image)
			owners.Packages = append(owners.Packages, c.Packages[i])
			c.Config.Image = s.merged.Image
		}
	}
	if conflict := owners.disagree("image", images); conflict != "" {
		c.conflicts = append(c.conflicts, conflict)
	}
	where := map[string][]string{}
	for _, triple := range c.Targets() {
		_, conflicts := c.combineBuild(triple)
		for _, conflict := range conflicts {
			where[conflict] = append(where[conflict], triple)
		}
	}
	for _, conflict := range slices.Sorted(maps.Keys(where)) {
		if len(where[conflict]) < len(c.Targets()) {
			conflict += " for " + strings.Join(where[conflict], ", ")
		}
		c.conflicts = append(c.conflicts, conflict)
	}
}

// disagree returns how the packages' values of a key differ; empty if they don't.
func (c *Component) disagree(key string, values []any) string {
	var texts, said []string
	for i, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte(err.Error())
		}
		texts = append(texts, string(text))
		said = append(said, fmt.Sprintf("%s for %s", text, c.Packages[i].Manifest()))
	}
	if len(slices.Compact(slices.Clone(texts))) < 2 {
		return ""
	}
	return fmt.Sprintf("%s is %s", key, strings.Join(said, " and "))
}

// buildConfig returns the build configuration for a target. Each package takes
// its part of what it inherits from the workspace: a feature counts for those
// that have it.
func (c *Component) buildConfig(triple string) BuildConfig {
	cfg, _ := c.combineBuild(triple)
	return cfg
}

// combineBuild returns the build configuration for a target, and where the
// packages differ in what one build can only have once.
func (c *Component) combineBuild(triple string) (BuildConfig, []string) {
	cfgs := make([]BuildConfig, len(c.settings))
	for i, s := range c.settings {
		cfgs[i] = s.merged.forTarget(triple)
	}
	out := cfgs[0]
	out.Features = c.features(cfgs)
	if len(cfgs) == 1 {
		return out, nil
	}
	out.Bins, out.PreBuild = nil, ""
	var conflicts []string
	for _, k := range []struct {
		key   string
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
	} {
		values := make([]any, len(cfgs))
		for i, b := range cfgs {
			values[i] = k.value(b)
		}
		if conflict := c.disagree(k.key, values); conflict != "" {
			conflicts = append(conflicts, conflict)
		}
	}
	var commands []any
	owners := &Component{}
	for i, b := range cfgs {
		for _, name := range b.Packages {
			if !slices.Contains(out.Packages, name) {
				out.Packages = append(slices.Clone(out.Packages), name)
			}
		}
		if b.PreBuild != "" {
			commands = append(commands, b.PreBuild)
			owners.Packages = append(owners.Packages, c.Packages[i])
			out.PreBuild = b.PreBuild
		}
	}
	if conflict := owners.disagree("pre-build", commands); conflict != "" {
		conflicts = append(conflicts, conflict)
	}
	return out, conflicts
}

// features returns the features to build with. If the packages differ in them,
// each feature names its package, so that one call of Cargo gives each its own.
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
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
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
