package imagespec

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/version"
)

// SmokeTest is how the image of a release is tested before it gets a tag.
type SmokeTest struct {
	// Args start the image; its entrypoint stays what it is.
	Args []string
	// Skip is true when nothing is to be started.
	Skip bool

	expect  string
	version *semver.Version
}

// SmokeTestOf returns the test that the manifest asks for. By default, the image
// is started with --version and must print the release's version.
func SmokeTestOf(m *manifest.Manifest) (SmokeTest, error) {
	v, err := version.Parse(m.Version)
	if err != nil {
		return SmokeTest{}, err
	}
	t := SmokeTest{Args: []string{"--version"}, version: v}
	if m.Image == nil || m.Image.Smoke == nil {
		return t, nil
	}
	s := m.Image.Smoke
	if len(s.Args) > 0 {
		t.Args = s.Args
	}
	t.Skip, t.expect = s.Skip, s.Expect
	return t, nil
}

// Check returns an error unless the output of the image is what was expected.
func (t SmokeTest) Check(output string) error {
	said := strings.TrimSpace(output)
	if len(said) > 200 {
		said = said[:200] + "…"
	}
	switch {
	case t.expect != "" && !strings.Contains(output, t.expect):
		return fmt.Errorf("%q printed %q, which does not contain %q: fix the program, or smoke.expect in [package.metadata.gantry.image]",
			strings.Join(t.Args, " "), said, t.expect)
	case t.expect == "" && !version.NamesVersion(output, t.version):
		return fmt.Errorf("%q printed %q, which does not name version %s: fix the program, or set smoke.args and smoke.expect in [package.metadata.gantry.image]",
			strings.Join(t.Args, " "), said, t.version)
	}
	return nil
}
