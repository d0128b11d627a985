package plan

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/nearest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/target"
)

// Defaults of the configuration.
const (
	defaultArchive      = "{name}-{version}-{target}"
	defaultProfile      = "release"
	DefaultCargoCommand = "build"
)

// Policies for prerelease tags.
const (
	policyExact = "exact"
	policyCore  = "core"
)

// Config is [workspace.metadata.gantry] or [package.metadata.gantry] of a
// Cargo.toml. Every key is optional. A package overrides its workspace; tables
// are merged key by key.
type Config struct {
	// Name of the component; by default the package's. In the workspace's table it
	// names what a tag without a prefix releases.
	Name string `json:"name"`
	// Release false excludes a package. True includes one that is excluded by
	// default: xtask, and one with publish = false where others may be published.
	Release *bool `json:"release"`
	// Latest marks the component whose releases become GitHub's "Latest", of which a
	// repository has one. By default it is the only component, or the one whose tags
	// have no prefix.
	Latest *bool `json:"latest"`
	// TagPrefix of the component's tags: "server-" for server-1.2.3 and
	// server-v1.2.3. Of several, the first is for new tags; older tags may have the
	// others.
	TagPrefix Prefixes `json:"tag-prefix"`
	// Prerelease is the policy of prerelease tags. With "exact", the default, the
	// tag has the manifest's version. "core" also accepts 1.2.0-rc.1 while the
	// manifest has 1.2.0.
	Prerelease string `json:"prerelease"`
	// Targets to build, as Rust target triples.
	Targets []string `json:"targets"`
	// Include lists globs of extra files for the archives, relative to the
	// Cargo.toml that has them; "**" crosses directories.
	Include []string `json:"include"`
	// Generate maps files of the archives to the arguments with which the package's
	// binary prints them, such as shell completions and man pages. The binary of a
	// target that runs on the build machine prints them once, for all archives. Only a
	// package's table has this key.
	Generate map[string][]string `json:"generate"`
	// Archive is the template of the archives' names, without suffix.
	Archive string `json:"archive"`
	// MaxGlibc is the highest glibc that a gnu binary may need, "2.31".
	MaxGlibc string `json:"max-glibc"`
	// CargoCommand is the Cargo subcommand that builds, "build" or "zigbuild".
	CargoCommand string `json:"cargo-command"`
	// SBOM false omits the bills of materials of each archive, in CycloneDX and in SPDX.
	// True refuses binaries that were built elsewhere, which have none.
	SBOM *bool `json:"sbom"`
	// Notices false omits the file THIRD-PARTY-LICENSES of each archive, which has the
	// licenses of the crates in its binaries. True refuses binaries that were built
	// elsewhere, which have none.
	Notices *bool `json:"notices"`
	// Auditable true adds the list of crates to each ELF program of a release, as
	// cargo-auditable does, for scanners of programs and images.
	Auditable *bool `json:"auditable"`
	// Sign "required" makes publish refuse a release without a key to sign it with. By
	// default, "optional".
	Sign string `json:"sign"`
	// GitDir true lets the build see .git, for build scripts that read it.
	GitDir *bool `json:"git-dir"`
	// Changelog of the component.
	Changelog Changelog `json:"changelog"`
	// Image that phase 2 assembles.
	Image *manifest.Image `json:"image"`
	// Target overrides settings of single targets, by triple.
	Target map[string]BuildConfig `json:"target"`
	BuildConfig
}

// BuildConfig holds the settings that a target may override.
type BuildConfig struct {
	// Bins to release; by default all that the features build. In the workspace's
	// table, each package takes those that it has.
	Bins []string `json:"bins"`
	// Profile of the build; by default "release".
	Profile string `json:"profile"`
	// Features to enable. In the workspace's table, each package takes those that
	// it has.
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
	// Config is the path of a git-cliff configuration, from the workspace's root; by
	// default cliff.toml, if it exists.
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
		return fmt.Errorf("must be a string or an array of strings, the first of which is for new tags, not %s", raw)
	}
	*p = several
	return nil
}

func isTrue(b *bool) bool { return b != nil && *b }

func isFalse(b *bool) bool { return b != nil && !*b }

// cargo returns the features that the settings select.
func (b BuildConfig) cargo() cargo.Features {
	return cargo.Features{Names: b.Features, All: isTrue(b.AllFeatures), NoDefault: isTrue(b.NoDefaultFeatures)}
}

// forTarget returns the build configuration of one target.
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

// readConfig reads the "gantry" table of a metadata table. Its error lists every
// unknown key and every wrong type; where names the table.
func readConfig(raw json.RawMessage, where string) (Config, error) {
	var tables map[string]json.RawMessage
	if json.Unmarshal(raw, &tables) != nil || len(tables["gantry"]) == 0 {
		return Config{}, nil // other tools' metadata, of any shape
	}
	var value any
	if err := json.Unmarshal(tables["gantry"], &value); err != nil {
		return Config{}, fmt.Errorf("%s: %w", where, err)
	}
	if err := errors.Join(mistakes(value, reflect.TypeFor[Config](), where, "")...); err != nil {
		return Config{}, err
	}
	var cfg Config
	if err := json.Unmarshal(tables["gantry"], &cfg); err != nil {
		return Config{}, fmt.Errorf("%s: %w", where, err)
	}
	return cfg, nil
}

// mistakes lists the unknown keys in the value of a key, and the parts of it whose
// type is not that of t.
func mistakes(value any, t reflect.Type, where, key string) (errs []error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) { // it accepts several types
		text, err := json.Marshal(value)
		if err == nil {
			err = json.Unmarshal(text, reflect.New(t).Interface())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: key %q %w", where, key, err))
		}
		return errs
	}
	table, isTable := value.(map[string]any)
	array, isArray := value.([]any)
	switch kind := t.Kind(); {
	case value == nil: // unset; TOML has no null
	case isTable && (kind == reflect.Struct || kind == reflect.Map):
		fields := fieldsOf(t)
		for _, k := range slices.Sorted(maps.Keys(table)) {
			name := strings.TrimPrefix(key+"."+k, ".")
			if kind == reflect.Map {
				fields[k] = t.Elem()
			}
			if fields[k] == nil {
				errs = append(errs, unknownKey(where, name, k, fields))
				continue
			}
			errs = append(errs, mistakes(table[k], fields[k], where, name)...)
		}
	case isArray && kind == reflect.Slice:
		for i, element := range array {
			errs = append(errs, mistakes(element, t.Elem(), where, fmt.Sprintf("%s[%d]", key, i))...)
		}
	case isTable || isArray || reflect.ValueOf(value).Kind() != kind:
		errs = append(errs, wrongType(value, kind, where, key))
	}
	return errs
}

// fieldsOf returns the types of a struct's fields, by their keys; none for others.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	if t.Kind() == reflect.Struct {
		for _, f := range reflect.VisibleFields(t) {
			if !f.Anonymous {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				fields[name] = f.Type
			}
		}
	}
	return fields
}

func unknownKey(where, name, key string, fields map[string]reflect.Type) error {
	known := slices.Sorted(maps.Keys(fields))
	hint := nearest.Hint(key, known)
	if hint == "" {
		hint = "; known keys: " + strings.Join(known, ", ")
	}
	return fmt.Errorf("%s: unknown key %q%s", where, name, hint)
}

func wrongType(value any, kind reflect.Kind, where, key string) error {
	want := map[reflect.Kind]string{reflect.Slice: "an array of strings", reflect.Map: "a table", reflect.Struct: "a table", reflect.Bool: "true or false"}[kind]
	have := "a table"
	switch value := value.(type) {
	case string:
		have = "a string"
	case []any:
		have = "an array"
	case bool:
		have = fmt.Sprint(value)
	case float64:
		have = fmt.Sprintf("the number %v", value)
	}
	name := "it"
	if key != "" {
		name = fmt.Sprintf("key %q", key)
	}
	return fmt.Errorf("%s: %s must be %s, not %s", where, name, cmp.Or(want, "a string"), have)
}

// merge returns base with the settings of over, which win.
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
		for _, k := range base.MapKeys() {
			out.SetMapIndex(k, base.MapIndex(k))
		}
		for _, k := range over.MapKeys() {
			merged := reflect.New(over.Type().Elem()).Elem()
			old := base.MapIndex(k)
			if !old.IsValid() {
				old = reflect.Zero(over.Type().Elem())
			}
			mergeValue(merged, old, over.MapIndex(k))
			out.SetMapIndex(k, merged)
		}
	default:
		out.Set(over)
	}
}
