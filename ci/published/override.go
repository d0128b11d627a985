package published

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
)

// Settings are image settings from flags.
type Settings struct {
	Base, User, Workdir     string
	Entrypoint, Cmd, Expose []string
	Platforms               []string
	Labels, Env, Include    []string // KEY=VALUE
	SmokeArgs               []string
	SmokeExpect             string
}

// Text returns the settings as JSON, merged into those of another text, which may be
// empty.
func (s Settings) Text(on string) (string, error) {
	before, err := parseSettings(on)
	if err != nil {
		return "", err
	}
	o := manifest.Image{
		Base: s.Base, User: s.User, Workdir: s.Workdir, Entrypoint: s.Entrypoint, Cmd: s.Cmd, Expose: s.Expose, Platforms: s.Platforms,
	}
	var errs [3]error
	o.Labels, errs[0] = pairs("labels", s.Labels)
	o.Env, errs[1] = pairs("env", s.Env)
	o.Include, errs[2] = pairs("include", s.Include)
	if err := errors.Join(errs[:]...); err != nil {
		return "", err
	}
	if len(s.SmokeArgs) > 0 || s.SmokeExpect != "" {
		o.Smoke = &manifest.Smoke{Args: s.SmokeArgs, Expect: s.SmokeExpect}
	}
	text, err := json.Marshal(merge(before, o))
	return string(text), err
}

func parseSettings(text string) (o manifest.Image, _ error) {
	if text == "" {
		return o, nil
	}
	err := json.Unmarshal([]byte(text), &o)
	return o, err
}

// override replaces image settings of the release, whose published manifest is fixed.
// Labels, variables and included files are added to the manifest's. The annotations
// of the image name the settings.
func (r *Release) override(text string) error {
	o, err := parseSettings(text)
	if err != nil || text == "" || text == "{}" {
		return err
	}
	m := *r.Manifest
	m.SchemaVersion = manifest.SchemaVersion
	merged := merge(m.ImageSpec(), o)
	m.Image = &merged
	if err := errors.Join(m.Validate(), imagespec.Check(&m)); err != nil {
		return fmt.Errorf("the image settings %s can't replace those of release %q: %w", text, m.Tag, err)
	}
	r.Manifest, r.Override = &m, text
	return nil
}

// merge returns image with the settings of o that are not empty.
func merge(image, o manifest.Image) manifest.Image {
	list := func(to *[]string, from []string) {
		if len(from) > 0 {
			*to = from
		}
	}
	add := func(to *map[string]string, from map[string]string) {
		if len(from) > 0 {
			all := map[string]string{}
			maps.Copy(all, *to)
			maps.Copy(all, from)
			*to = all
		}
	}
	image.Base = cmp.Or(o.Base, image.Base)
	image.User = cmp.Or(o.User, image.User)
	image.Workdir = cmp.Or(o.Workdir, image.Workdir)
	list(&image.Entrypoint, o.Entrypoint)
	list(&image.Cmd, o.Cmd)
	list(&image.Expose, o.Expose)
	list(&image.Platforms, o.Platforms)
	add(&image.Labels, o.Labels)
	add(&image.Env, o.Env)
	add(&image.Include, o.Include)
	image.Smoke = cmp.Or(o.Smoke, image.Smoke)
	return image
}

// pairs reads the values of a flag, each KEY=VALUE.
func pairs(flag string, values []string) (map[string]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	all := map[string]string{}
	for _, text := range values {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--%s=%s is not KEY=VALUE", flag, text)
		}
		if _, twice := all[key]; twice {
			return nil, fmt.Errorf("--%s: %q appears twice: pass it once", flag, key)
		}
		all[key] = value
	}
	return all, nil
}
