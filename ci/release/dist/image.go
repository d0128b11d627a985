package dist

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/target"
)

// CheckImage returns the reasons, joined, for which phase 2 could make no image
// of a complete release, now that its binaries are known: a base image that
// lacks their loader or a library, and all that the plan checks. It is nil where
// no image is configured, since nobody may want one.
func CheckImage(m *manifest.Manifest) error {
	if m.Image == nil {
		return nil
	}
	if err := imagespec.Check(m); err != nil {
		return fmt.Errorf("no image could be made of the release:\n%w", err)
	}
	return nil
}

// checkImage is CheckImage for what was built here, which may be some of the
// targets, with what the plan can't know: how the program that the image starts
// answers its smoke test. What would stop phase 2 is an error where an image is
// configured; else, and where it can't be told for sure, it is a warning.
func checkImage(m *manifest.Manifest, targets []Target) (warnings []string, err error) {
	part := *m
	image := manifest.Image{}
	if m.Image != nil {
		image = *m.Image
	}
	part.Image = &image
	var platforms []string
	for _, a := range m.Archives() {
		if t, err := target.Lookup(a.Target); err == nil && t.Platform != "" && (len(image.Platforms) == 0 || slices.Contains(image.Platforms, t.Platform)) {
			platforms = append(platforms, t.Platform)
		}
	}
	if len(platforms) == 0 {
		return nil, nil
	}
	image.Platforms = platforms
	err = imagespec.Check(&part)
	if err == nil {
		var sure bool
		if sure, err = checkSmoke(&part, targets); err != nil && !sure {
			return []string{err.Error()}, nil
		}
	}
	if err != nil && m.Image == nil {
		return []string{"no image could be made of the release: " + strings.ReplaceAll(err.Error(), "\n", "; ")}, nil
	}
	return nil, err
}

// checkSmoke compares how native binaries answered --version with what the smoke
// test of the image expects. sure is false where the image gives its program
// more than it had here: variables or arguments.
func checkSmoke(m *manifest.Manifest, targets []Target) (sure bool, err error) {
	test, err := imagespec.SmokeTestOf(m)
	if err != nil || test.Skip || !slices.Equal(test.Args, []string{"--version"}) {
		return true, err
	}
	choices, err := imagespec.Choose(m)
	if err != nil {
		return true, err
	}
	sure = len(m.Image.Env) == 0
	var errs []error
	for _, c := range choices {
		entrypoint, err := imagespec.Entrypoint(m, *m.Image, c.Asset)
		if err != nil {
			return true, err
		}
		sure = sure && len(entrypoint) == 1
		i := slices.IndexFunc(targets, func(t Target) bool { return t.Want.Target == c.Target })
		if i < 0 {
			continue
		}
		for _, bin := range targets[i].Binaries {
			if bin.Run == "" || entrypoint[0] != bin.Bin && entrypoint[0] != path.Join(imagespec.BinDir, bin.Bin) {
				continue
			}
			run, err := os.ReadFile(bin.Run)
			if err != nil {
				return true, err
			}
			if err := smoke(test, string(run)); err != nil {
				errs = append(errs, fmt.Errorf("binary %q of target %q would fail the smoke test of the image: %w", bin.Bin, c.Target, err))
			}
		}
	}
	return sure, errors.Join(errs...)
}

// smoke reads how a program ran, as [checkRun] does.
func smoke(test imagespec.SmokeTest, run string) error {
	output, last := "", strings.TrimSpace(run)
	if i := strings.LastIndexByte(last, '\n'); i >= 0 {
		output, last = last[:i], last[i+1:]
	}
	status, err := strconv.Atoi(strings.TrimPrefix(last, "exit status "))
	const fix = "answer --version, or set smoke.args and smoke.expect, or smoke.skip = true, in [package.metadata.gantry.image]"
	switch {
	case err != nil:
		return fmt.Errorf("it was not run: it left %q", last)
	case status == 124:
		return fmt.Errorf("--version did not end within 10 seconds: %s", fix)
	case status != 0:
		return fmt.Errorf("--version ended with exit status %d: %s", status, fix)
	}
	return test.Check(output)
}
