package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// sharedKey is a setting that a release of several packages has once. Packages whose
// value is nil don't count.
type sharedKey struct {
	name  string
	value func(Config) any
	// set takes the setting over from a package; only for a release.
	set func(to *Config, from Config)
}

// releaseKeys and buildKeys are the keys that a release and that a build has once.
var (
	releaseKeys = []sharedKey{
		{"archive", func(c Config) any { return cmp.Or(c.Archive, defaultArchive) }, func(to *Config, from Config) { to.Archive = from.Archive }},
		{"max-glibc", func(c Config) any { return c.MaxGlibc }, func(to *Config, from Config) { to.MaxGlibc = from.MaxGlibc }},
		{"cargo-command", func(c Config) any { return cmp.Or(c.CargoCommand, DefaultCargoCommand) }, func(to *Config, from Config) { to.CargoCommand = from.CargoCommand }},
		{"targets", func(c Config) any { return slices.Sorted(slices.Values(c.targets())) }, func(to *Config, from Config) { to.Targets = from.Targets }},
		{"changelog.config", func(c Config) any { return c.Changelog.Config }, func(to *Config, from Config) { to.Changelog.Config = from.Changelog.Config }},
		{"image", func(c Config) any { return unlessZero(c.Image) }, func(*Config, Config) {}},
	}
	buildKeys = []sharedKey{
		{name: "profile", value: func(c Config) any { return cmp.Or(c.Profile, defaultProfile) }},
		{name: "all-features", value: func(c Config) any { return isTrue(c.AllFeatures) }},
		{name: "no-default-features", value: func(c Config) any { return isTrue(c.NoDefaultFeatures) }},
		{name: "env", value: func(c Config) any { return maps.Collect(maps.All(c.Env)) }},
		{name: "pre-build", value: func(c Config) any { return unlessZero(c.PreBuild) }},
	}
)

func unlessZero[T comparable](value T) any {
	if value == *new(T) {
		return nil
	}
	return value
}

// conflictsOf describes how the packages' settings differ in keys that they share.
func (c *Component) conflictsOf(keys []sharedKey, configs []Config) []string {
	var conflicts []string
	for _, key := range keys {
		var texts, lines []string
		for i, cfg := range configs {
			value := key.value(cfg)
			if value == nil {
				continue
			}
			text, err := json.Marshal(value)
			if err != nil {
				text = []byte(err.Error())
			}
			texts = append(texts, string(text))
			lines = append(lines, fmt.Sprintf("%s for %s", text, c.Packages[i].Manifest()))
		}
		if len(slices.Compact(texts)) > 1 {
			conflicts = append(conflicts, fmt.Sprintf("%s is %s", key.name, strings.Join(lines, " and ")))
		}
	}
	return conflicts
}

// combine makes the configuration of a component of several packages from theirs. A
// package keeps its settings where it can (see [Component.settings] and
// combineBuild), and lists are joined. A release and a build have all other keys
// once: a key on which the packages differ is a conflict.
func (c *Component) combine(workspace Config) {
	c.Config = workspace
	c.Config.Name, c.Config.TagPrefix = c.Name, nil
	var configs []Config
	for _, s := range c.settings {
		c.Config.SBOM = either(c.Config.SBOM, s.merged.SBOM)
		c.Config.Notices = either(c.Config.Notices, s.merged.Notices)
		c.Config.Auditable = either(c.Config.Auditable, s.merged.Auditable)
		if isTrue(s.merged.GitDir) {
			c.Config.GitDir = s.merged.GitDir
		}
		if s.merged.Sign == signRequired {
			c.Config.Sign = signRequired
		}
		if own := s.own.Latest; own != nil && !isTrue(c.Config.Latest) {
			c.Config.Latest = own
		}
		c.Config.Changelog.Paths = union(c.Config.Changelog.Paths, s.own.Changelog.Paths)
		if s.own.Image != nil {
			c.Config.Image = s.merged.Image
		} else {
			s.merged.Image = nil
		}
		configs = append(configs, s.merged)
	}
	for _, key := range releaseKeys {
		conflicts := c.conflictsOf([]sharedKey{key}, configs)
		if c.conflicts = append(c.conflicts, conflicts...); conflicts == nil {
			key.set(&c.Config, configs[0])
		}
	}
	targets := map[string][]string{} // by conflict
	for _, triple := range c.Config.targets() {
		_, conflicts := c.combineBuild(triple)
		for _, conflict := range conflicts {
			targets[conflict] = append(targets[conflict], triple)
		}
	}
	for _, conflict := range slices.Sorted(maps.Keys(targets)) {
		if len(targets[conflict]) < len(c.Config.targets()) {
			conflict += " for " + strings.Join(targets[conflict], ", ")
		}
		c.conflicts = append(c.conflicts, conflict)
	}
}

// either returns the setting of two packages: true if one has true, else what is set.
func either(a, b *bool) *bool {
	if a == nil || isTrue(b) {
		return b
	}
	return a
}

// combineBuild returns the build configuration for a target, and the conflicts of
// the packages. A feature that a package inherits from the workspace counts only if
// it has it.
func (c *Component) combineBuild(triple string) (BuildConfig, []string) {
	var configs []Config
	for _, s := range c.settings {
		configs = append(configs, Config{BuildConfig: s.merged.forTarget(triple)})
	}
	out := configs[0].BuildConfig
	out.Features = c.features(configs)
	if len(configs) == 1 {
		return out, nil
	}
	out.Bins = nil
	for _, cfg := range configs {
		out.Packages = union(out.Packages, cfg.Packages)
		out.PreBuild = cmp.Or(cfg.PreBuild, out.PreBuild)
	}
	return out, c.conflictsOf(buildKeys, configs)
}

// features returns the features to build with. If the packages differ in them,
// each feature names its package, so that one call of Cargo gives each package only
// what it set.
func (c *Component) features(configs []Config) []string {
	each := make([][]string, len(configs))
	same := true
	for i, cfg := range configs {
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
