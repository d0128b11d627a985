package dist

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/version"
)

// elsewhereFix ends the errors about versions.
const elsewhereFix = "build it from the commit of the release, or pass --any-version if the program doesn't know its version"

// checkVersion returns an error if a binary that was built elsewhere has another version
// than its package. A binary that ran and printed a version is judged by that. All
// others, those of other platforms above all, are judged by their data. A binary that
// did not run well may need libraries that only the machines of its users have.
func checkVersion(triple string, bin Binary) error {
	want, err := semver.NewVersion(bin.Version)
	if err != nil {
		return fmt.Errorf("read the version %q of package %q: %w", bin.Version, bin.Package, err)
	}
	if bin.Run != "" {
		run, err := os.ReadFile(bin.Run)
		if err != nil {
			return err
		}
		printed, ended := answer(string(run))
		switch {
		case ended && version.NamesVersion(printed, want):
			return nil
		case ended && version.NamesAnyVersion(printed):
			first, _, _ := strings.Cut(printed, "\n")
			return fmt.Errorf("binary %q of target %q prints %q for --version, but package %q has version %s: %s", bin.Name, triple, first, bin.Package, want, elsewhereFix)
		}
	}
	mention, err := find(bin.File, want.String())
	switch {
	case err != nil:
		return fmt.Errorf("binary %q of target %q: %w", bin.Name, triple, err)
	case mention.Found:
		return nil
	case mention.Nearest == "":
		return fmt.Errorf("binary %q of target %q contains no version, but package %q has version %s: %s", bin.Name, triple, bin.Package, want, elsewhereFix)
	}
	return fmt.Errorf("binary %q of target %q does not contain version %s of package %q; the nearest in it is %s: %s", bin.Name, triple, want, bin.Package, mention.Nearest, elsewhereFix)
}

// answer returns the output of a run, and whether it ended well.
func answer(run string) (output string, ended bool) {
	return strings.CutSuffix(strings.TrimSpace(run), "exit status 0")
}

func find(file, version string) (binary.Mention, error) {
	return readFile(file, func(f io.ReaderAt, size int64) (binary.Mention, error) { return binary.FindVersion(f, size, version) })
}
