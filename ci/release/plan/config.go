package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/nearest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/target"
)

// Config is [workspace.metadata.gantry] or [package.metadata.gantry] of a
// Cargo.toml. No key is needed. What a package sets wins over what its
// workspace sets; tables are merged key by key.
type Config struct {
	// Name of the component; by default the package's. In the workspace's
	// table it names what a tag without a prefix releases.
	Name string `json:"name"`
	// Release false keeps a package with binaries out of releases. True takes one
	// in that is left out by default: xtask, and, where others may be published,
	// one with publish = false.
	Release *bool `json:"release"`
	// Latest says that this component's releases are the ones for GitHub's
	// "Latest", of which a repository has one. By default, those of the only
	// component, or of the one whose tags have no prefix.
	Latest *bool `json:"latest"`
	// TagPrefix of the component's tags: "server-" for server-1.2.3 and
	// server-v1.2.3. Of several, the first is the one for new tags; the others
	// are those that older tags have.
	TagPrefix Prefixes `json:"tag-prefix"`
	// Prerelease is the policy of prerelease tags: "exact" (the default) wants
	// the manifest's version to be the tag's, "core" also lets 1.2.0-rc.1 be
	// tagged where the manifest already says 1.2.0.
	Prerelease string `json:"prerelease"`
	// Targets to build, as Rust target triples.
	Targets []string `json:"targets"`
	// Include lists globs of extra files for the archives, relative to the
	// Cargo.toml they are written in; "**" crosses folders.
	Include []string `json:"include"`
	// Archive is the template of the archives' names, without suffix.
	Archive string `json:"archive"`
	// MaxGlibc is the highest glibc that a gnu binary may need, "2.31".
	MaxGlibc string `json:"max-glibc"`
	// CargoCommand is the Cargo subcommand that builds, "build" or "zigbuild".
	CargoCommand string `json:"cargo-command"`
	// SBOM true adds a bill of materials for each archive.
	SBOM *bool `json:"sbom"`
	// GitDir true lets the build see .git, for build scripts that read it.
	GitDir *bool `json:"git-dir"`
	// Changelog of the component.
	Changelog Changelog `json:"changelog"`
	// Image that phase 2 assembles.
	Image *manifest.Image `json:"image"`
	// Target has settings for single targets, by triple.
	Target map[string]BuildConfig `json:"target"`
	BuildConfig
}

// BuildConfig are the settings that a single target may override.
type BuildConfig struct {
	// Bins to release; by default all that the features build. In the workspace's
	// table, each package has its part of them.
	Bins []string `json:"bins"`
	// Profile of the build; by default "release".
	Profile string `json:"profile"`
	// Features to enable. In the workspace's table, each counts for the packages
	// that have it.
	Features []string `json:"features"`
	// AllFeatures enables all.
	AllFeatures *bool `json:"all-features"`
	// NoDefaultFeatures disables the default ones.
	NoDefaultFeatures *bool `json:"no-default-features"`
	// Env of the build.
	Env map[string]string `json:"env"`
	// Packages of Debian to install for the target's architecture.
	Packages []string `json:"packages"`
	// PreBuild is a shell command, run in the workspace before the build.
	PreBuild string `json:"pre-build"`
}

// Changelog is the "changelog" table.
type Changelog struct {
	// Config is the path of a git-cliff configuration, from the workspace's
	// root; by default cliff.toml, where there is one.
	Config string `json:"config"`
	// Paths are more globs whose changes belong to the component.
	Paths []string `json:"paths"`
}

// Prefixes is one string or an array of them; nil is unset.
type Prefixes []string

// UnmarshalJSON reads either form.
func (p *Prefixes) UnmarshalJSON(raw []byte) error {
	var one string
	if err := json.Unmarshal(raw, &one); err == nil {
		*p = Prefixes{one}
		return nil
	}
	var several []string
	if err := json.Unmarshal(raw, &several); err != nil || len(several) == 0 {
		return fmt.Errorf("%s is neither a string nor an array of strings, the first of which is for new tags", raw)
	}
	*p = several
	return nil
}

// cargo returns the features that the settings select.
func (b BuildConfig) cargo() cargo.Features {
	return cargo.Features{Names: b.Features, All: isTrue(b.AllFeatures), NoDefault: isTrue(b.NoDefaultFeatures)}
}

func isTrue(b *bool) bool { return b != nil && *b }

// readConfig reads the "gantry" table of a metadata table; where names it in
// errors. An unknown key is an error that names it and the nearest known one.
func readConfig(raw json.RawMessage, where string) (Config, error) {
	var tables map[string]json.RawMessage
	var cfg Config
	if len(raw) == 0 || string(raw) == "null" {
		return cfg, nil
	}
	if err := json.Unmarshal(raw, &tables); err != nil || len(tables["gantry"]) == 0 {
		return cfg, nil // other tools' metadata, of whatever shape
	}
	errs := append([]error{unknownKeys(tables["gantry"], reflect.TypeFor[Config](), where)},
		wrongTypes(tables["gantry"], reflect.TypeFor[Config](), where, "")...)
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	if err := json.Unmarshal(tables["gantry"], &cfg); err != nil {
		return Config{}, fmt.Errorf("%s: %w", where, err)
	}
	return cfg, nil
}

func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "an array of strings"
	case reflect.Map, reflect.Struct:
		return "a table"
	case reflect.Bool:
		return "true or false"
	default:
		return "a string"
	}
}

// unknownKeys compares the keys of a table with the fields of a type, deep.
func unknownKeys(raw json.RawMessage, t reflect.Type, where string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct && (t.Kind() != reflect.Map || t.Elem().Kind() != reflect.Struct) {
		return nil
	}
	var table map[string]json.RawMessage
	if json.Unmarshal(raw, &table) != nil {
		return nil // a wrong type, which decoding reports
	}
	keys := make([]string, 0, len(table))
	for k := range table {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fields := map[string]reflect.Type{}
	if t.Kind() == reflect.Struct {
		for _, f := range reflect.VisibleFields(t) {
			if !f.Anonymous {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				fields[name] = f.Type
			}
		}
	}
	var errs []error
	for _, k := range keys {
		field, known := fields[k]
		if t.Kind() == reflect.Map {
			field, known = t.Elem(), true
		}
		if !known {
			var names []string
			for name := range fields {
				names = append(names, name)
			}
			sort.Strings(names)
			hint := nearest.Hint(k, names)
			if hint == "" {
				hint = "; known are " + strings.Join(names, ", ")
			}
			errs = append(errs, fmt.Errorf("%s: unknown key %q%s", where, k, hint))
			continue
		}
		errs = append(errs, unknownKeys(table[k], field, where+" "+k))
	}
	return errors.Join(errs...)
}

// merge lays what over sets upon base.
func merge[T any](base, over T) T {
	out := reflect.New(reflect.TypeFor[T]()).Elem()
	mergeValue(out, reflect.ValueOf(base), reflect.ValueOf(over))
	return out.Interface().(T)
}

func mergeValue(out, base, over reflect.Value) {
	switch {
	case over.IsZero():
		out.Set(base)
	case base.IsZero():
		out.Set(over)
	case over.Kind() == reflect.Struct:
		for i := range over.NumField() {
			mergeValue(out.Field(i), base.Field(i), over.Field(i))
		}
	case over.Kind() == reflect.Pointer && over.Type().Elem().Kind() == reflect.Struct:
		out.Set(reflect.New(over.Type().Elem()))
		mergeValue(out.Elem(), base.Elem(), over.Elem())
	case over.Kind() == reflect.Map:
		out.Set(reflect.MakeMap(over.Type()))
		for _, m := range []reflect.Value{base, over} {
			for _, k := range m.MapKeys() {
				merged := reflect.New(over.Type().Elem()).Elem()
				if was := out.MapIndex(k); was.IsValid() {
					mergeValue(merged, was, m.MapIndex(k))
				} else {
					merged.Set(m.MapIndex(k))
				}
				out.SetMapIndex(k, merged)
			}
		}
	default:
		out.Set(over)
	}
}

// forTarget is the build configuration of one target.
func (c Config) forTarget(triple string) BuildConfig {
	return merge(c.BuildConfig, c.Target[triple])
}

// targets returns the targets to build.
func (c Config) targets() []string {
	if len(c.Targets) > 0 {
		return c.Targets
	}
	return target.Default
}
