package cargo

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/Masterminds/semver/v3"
)

// DefaultChannel is the Rust release that builds a project without a pin.
const DefaultChannel = "1.96"

var (
	releaseChannel = regexp.MustCompile(`^\d+\.\d+(\.\d+)?$`)
	otherToolchain = regexp.MustCompile(`^(nightly|beta)`)
)

// Channel chooses the Rust release that builds a project, from the text of its
// rust-toolchain.toml (or of a rust-toolchain in the old format) and of its root
// Cargo.toml; each may be empty.
//
// A toolchain file is a pin and is followed. rust-version is a floor, not a pin
// (The Cargo Book, "The rust-version field"): it is followed only above
// [DefaultChannel]. A pin that moves ("stable") means the default, since a release
// must be repeatable.
func Channel(toolchainFile, cargoToml string) (string, error) {
	if strings.TrimSpace(toolchainFile) != "" {
		return pinned(toolchainFile)
	}
	type pkg struct {
		RustVersion any `toml:"rust-version"`
	}
	var manifest struct {
		Package   pkg
		Workspace struct{ Package pkg }
	}
	if _, err := toml.Decode(cargoToml, &manifest); err != nil {
		return "", fmt.Errorf("read Cargo.toml: %w", err)
	}
	channel := DefaultChannel
	for _, declared := range []any{manifest.Package.RustVersion, manifest.Workspace.Package.RustVersion} {
		text, _ := declared.(string) // inherited ones are tables
		floor, err := semver.NewVersion(text)
		if text == "" || err != nil {
			continue
		}
		if current := semver.MustParse(channel); floor.GreaterThan(current) && (floor.Major() != current.Major() || floor.Minor() != current.Minor()) {
			channel = text
		}
	}
	return channel, nil
}

// Older reports whether a version of rustc, as `rustc --version` prints it, is older than
// a rust-version. Like Cargo, it takes a nightly for the release that it leads to. It is
// false if one of them is unknown.
func Older(rustc, rustVersion string) bool {
	words := strings.Fields(rustc)
	if len(words) < 2 {
		return false
	}
	has, err := semver.NewVersion(words[1])
	if err != nil {
		return false
	}
	needed, err := semver.NewVersion(rustVersion)
	return err == nil && semver.New(has.Major(), has.Minor(), has.Patch(), "", "").LessThan(needed)
}

// pinned returns the Rust release of a toolchain file.
func pinned(file string) (string, error) {
	channel := strings.TrimSpace(file)
	if strings.Contains(channel, "[") {
		var table struct {
			Toolchain struct{ Channel, Path string }
		}
		if _, err := toml.Decode(file, &table); err != nil {
			return "", fmt.Errorf("read rust-toolchain.toml: %w", err)
		}
		if table.Toolchain.Path != "" {
			return "", fmt.Errorf("rust-toolchain.toml names the local toolchain %q, which no image has: pass --toolchain with a container that has it", table.Toolchain.Path)
		}
		channel = table.Toolchain.Channel
	}
	switch {
	case releaseChannel.MatchString(channel):
		return channel, nil
	case channel == "" || channel == "stable" || strings.HasPrefix(channel, "stable-"):
		return DefaultChannel, nil
	case otherToolchain.MatchString(channel):
		return "", fmt.Errorf("rust-toolchain.toml pins %q, which has no official image: pass --toolchain with a container that has it", channel)
	default:
		return "", fmt.Errorf("rust-toolchain.toml pins %q, which is not a Rust release such as %q: pass --toolchain with a container that has it", channel, DefaultChannel)
	}
}
