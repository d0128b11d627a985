package dist

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/manifest"
)

// given describes a program for amd that was built elsewhere and must have a version.
func given(t *testing.T, version, run string) Target {
	t.Helper()
	bin := Binary{Name: "app.exe", Bin: "app", Package: "app-cli", File: program(t, "amd64"), Version: version}
	if run != "" {
		bin.Run = filepath.Join(t.TempDir(), "run")
		require.NoError(t, os.WriteFile(bin.Run, []byte(run), 0o644))
	}
	return Target{Want: binary.Requirements{Target: amd, Format: binary.ELF, Arch: "x86_64", OS: "linux"}, Elsewhere: true, Binaries: []Binary{bin}}
}

// What a program prints counts most; its data count if it didn't run well or printed no
// version.
func TestVersionOfProgramsBuiltElsewhere(t *testing.T) {
	const fix = ": build it from the commit of the release, or pass --any-version if the program doesn't know its version"
	for name, c := range map[string]struct{ version, run, want string }{
		"prints it":             {"2.0.0", "app 2.0.0\nexit status 0\n", ""},
		"prints the core of it": {"2.0.0-rc.1", "app 2.0.0\nexit status 0\n", ""},
		"prints another":        {"1.0.0", "app v1.0.1 (abc)\nmore\nexit status 0\n", `binary "app.exe" of target "x86_64-unknown-linux-gnu" prints "app v1.0.1 (abc)" for --version, but package "app-cli" has version 1.0.0` + fix},
		"prints none":           {"1.0.0", "hello\nexit status 0\n", ""},
		"does not know it":      {"1.0.0", "usage: app 9.9.9\nexit status 2\n", ""},
		"lacks a library":       {"1.0.0", "app: error while loading libx.so.2\nexit status 127\n", ""},
		"contains it":           {"1.0.0", "", ""},
		"contains another":      {"1.0.1", "", `binary "app.exe" of target "x86_64-unknown-linux-gnu" does not contain version 1.0.1 of package "app-cli"; the nearest in it is 1.0.0` + fix},
		"prints none, too":      {"1.0.1", "hello\nexit status 0\n", "does not contain version 1.0.1"},
		"any version":           {"", "", ""},
		"not a version":         {"one", "", `read the version "one" of package "app-cli"`},
	} {
		t.Run(name, func(t *testing.T) {
			facts, err := Inspect(given(t, c.version, c.run))
			if c.want == "" {
				require.NoError(t, err)
				assert.Len(t, facts, 1)
				return
			}
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestVersionIsNotLookedForInWhatDoesNotFit(t *testing.T) {
	other := given(t, "9.9.9", "")
	other.Want.Target, other.Want.Arch = arm, "aarch64"
	_, err := Inspect(other)
	assert.ErrorContains(t, err, `binary "app.exe" is for x86_64, but target "aarch64-unknown-linux-musl" needs aarch64`)
	assert.NotContains(t, err.Error(), "9.9.9")
}

// All targets are checked before the first archive is written.
func TestAssembleReportsEveryTarget(t *testing.T) {
	in := input(t, binaries(t))
	for i := range in.Targets {
		in.Targets[i].Elsewhere = true
		in.Targets[i].Binaries[0].Version = "7.7.7"
	}
	dir := t.TempDir()
	_, err := Assemble(dir, in, quiet(t))
	for _, target := range []string{amd, arm} {
		assert.ErrorContains(t, err, `target "`+target+`" does not contain version 7.7.7`)
		assert.NoFileExists(t, filepath.Join(dir, archiveOf(target)))
	}
}

// A program that was built elsewhere may need a library that only its image has: phase 2
// starts it there.
func TestSmokeTestOfProgramsBuiltElsewhere(t *testing.T) {
	for run, want := range map[string]string{
		"app: error while loading libx.so.2\nexit status 127\n": "",
		"other 2.0.0\nexit status 0\n":                          "does not name version 1.0.0",
	} {
		in := input(t, binaries(t))
		in.Manifest.Image = &manifest.Image{User: "1"}
		in.Manifest.UseLeastSchema()
		for i := range in.Targets {
			in.Targets[i].Elsewhere = true
			in.Targets[i].Binaries[0].Run = filepath.Join(t.TempDir(), "run")
			require.NoError(t, os.WriteFile(in.Targets[i].Binaries[0].Run, []byte(run), 0o644))
		}
		_, err := Assemble(t.TempDir(), in, quiet(t))
		if want == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, want)
		}
	}
}

func TestVersionOfProgramsWithoutData(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app")
	header := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 57)...)
	header[16], header[18], header[20], header[52] = 2, 62, 1, 64 // EXEC, x86_64, version 1, its size
	require.NoError(t, os.WriteFile(file, header, 0o644))
	err := checkVersion(amd, Binary{Name: "app", Package: "app-cli", File: file, Version: "1.0.0"})
	assert.EqualError(t, err, `binary "app" of target "x86_64-unknown-linux-gnu" contains no version, but package "app-cli" has version 1.0.0: `+elsewhereFix)
	require.NoError(t, os.WriteFile(file, header[:20], 0o644))
	err = checkVersion(amd, Binary{Name: "app", Package: "app-cli", File: file, Version: "1.0.0"})
	assert.ErrorContains(t, err, `binary "app" of target "x86_64-unknown-linux-gnu": search a binary for version "1.0.0": `)
}

func TestVersionOfUnreadableRuns(t *testing.T) {
	gone := given(t, "1.0.0", "app 1.0.0\nexit status 0\n")
	gone.Binaries[0].Run += "-gone"
	_, err := Inspect(gone)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorIs(t, checkVersion(amd, Binary{Version: "1.0.0", File: "gone"}), os.ErrNotExist)
}
