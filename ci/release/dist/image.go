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

// CheckImage reports why phase 2 could not make the image of a complete release, now
// that its binaries are known: a base image that lacks their loader or a library, and
// everything that the plan checks. Without an image configuration it reports nothing,
// since the project may want no image.
func CheckImage(m *manifest.Manifest) error {
	if m.Image == nil {
		return nil
	}
	if err := imagespec.Check(m); err != nil {
		return fmt.Errorf("the release can't become an image:\n%w", err)
	}
	return nil
}

// checkImage is CheckImage for the targets that were built here, and runs the smoke
// test of the image's program too. A problem is an error if an image is configured
// and it is sure to stop phase 2; otherwise it is a warning.
func checkImage(m *manifest.Manifest, targets []Target) (warnings []string, err error) {
	part := *m
	image := m.ImageSpec()
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
		return []string{"the release can't become an image: " + strings.ReplaceAll(err.Error(), "\n", "; ")}, nil
	}
	return nil, err
}

// checkSmoke compares the answers of native binaries to --version with the smoke test
// of the image. sure is false if the image gives its program variables or arguments
// that it had not here.
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
			if _, ended := answer(string(run)); targets[i].Elsewhere && !ended {
				continue // it may need what only the image has
			}
			if err := smoke(test, string(run)); err != nil {
				errs = append(errs, fmt.Errorf("binary %q of target %q would fail the smoke test of the image: %w", bin.Bin, c.Target, err))
			}
		}
	}
	return sure, errors.Join(errs...)
}

// smoke reads the output of a run, as [checkRun] does.
func smoke(test imagespec.SmokeTest, run string) error {
	output, last := "", strings.TrimSpace(run)
	if i := strings.LastIndexByte(last, '\n'); i >= 0 {
		output, last = last[:i], last[i+1:]
	}
	status, err := strconv.Atoi(strings.TrimPrefix(last, "exit status "))
	const fix = "answer --version, or set smoke.args and smoke.expect, or smoke.skip = true, in [package.metadata.gantry.image]"
	switch {
	case err != nil:
		return fmt.Errorf("it did not run: the output is %q", last)
	case status == 124:
		return fmt.Errorf("--version did not end within 10 seconds: %s", fix)
	case status != 0:
		return fmt.Errorf("--version ended with exit status %d: %s", status, fix)
	}
	return test.Check(output)
}
