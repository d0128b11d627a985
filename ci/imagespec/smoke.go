package imagespec

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/version"
)

// SmokeTest tests the image of a release before it gets a tag.
type SmokeTest struct {
	// Args are the arguments of the image's entrypoint.
	Args []string
	// Skip skips the test.
	Skip bool

	expect  string
	version *semver.Version
	// mayIgnore is true if the program need not know --version.
	mayIgnore bool
}

// SmokeTestOf returns the test that the manifest specifies. By default, the image
// starts with --version and must not print another version than the release's.
func SmokeTestOf(m *manifest.Manifest) (SmokeTest, error) {
	v, err := version.Parse(m.Version)
	if err != nil {
		return SmokeTest{}, err
	}
	t := SmokeTest{Args: []string{"--version"}, version: v}
	if m.Image == nil || m.Image.Smoke == nil {
		t.mayIgnore = true
		return t, nil
	}
	s := m.Image.Smoke
	if len(s.Args) > 0 {
		t.Args = s.Args
	}
	t.Skip, t.expect = s.Skip, s.Expect
	return t, nil
}

// Check returns an error unless the output of the image is the expected one.
//
// A program that has no --version prints what it always prints: that it ran and ended
// well is enough then, unless the project configures the test.
func (t SmokeTest) Check(output string) error {
	if t.mayIgnore && !version.NamesAnyVersion(output) {
		return nil
	}
	start := strings.TrimSpace(output)
	if len(start) > 200 {
		start = start[:200] + "…"
	}
	switch {
	case t.expect != "" && !strings.Contains(output, t.expect):
		return fmt.Errorf("%q printed %q, which does not contain %q: fix the program, or smoke.expect in [package.metadata.gantry.image]",
			strings.Join(t.Args, " "), start, t.expect)
	case t.expect == "" && !version.NamesVersion(output, t.version):
		return fmt.Errorf("%q printed %q, which does not name version %s: fix the program, or set smoke.args and smoke.expect in [package.metadata.gantry.image]",
			strings.Join(t.Args, " "), start, t.version)
	}
	return nil
}
