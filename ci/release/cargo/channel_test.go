package cargo

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChannel(t *testing.T) {
	for _, c := range []struct{ name, file, cargo, want, says string }{
		{"nothing said", "", "", DefaultChannel, ""},
		{"pinned", "[toolchain]\nchannel = \"1.85.1\"\n", "", "1.85.1", ""},
		{"old form", "1.80\n", "", "1.80", ""},
		{"moving", "[toolchain]\nchannel = \"stable\"\n", "", DefaultChannel, ""},
		{"nightly", "[toolchain]\nchannel = \"nightly-2026-01-01\"\n", "", "", "pass --toolchain"},
		{"local", "[toolchain]\npath = \"/opt/rust\"\n", "", "", "/opt/rust"},
		{"unknown", "[toolchain]\nchannel = \"1\"\n", "", "", "not a Rust release"},
		{"broken", "[toolchain\n", "", "", "read rust-toolchain.toml"},
		{"an old floor", "", "[package]\nrust-version = \"1.70\"\n", DefaultChannel, ""},
		{"the same floor", "", "[package]\nrust-version = \"1.96.1\"\n", DefaultChannel, ""},
		{"a high floor", "", "[workspace.package]\nrust-version = \"1.99\"\n", "1.99", ""},
		{"an inherited floor", "", "[package]\nrust-version.workspace = true\n[workspace.package]\nrust-version = \"1.97.2\"\n", "1.97.2", ""},
		{"a file wins over a floor", "1.80", "[package]\nrust-version = \"1.99\"\n", "1.80", ""},
	} {
		got, err := Channel(c.file, c.cargo)
		if c.says != "" {
			assert.ErrorContains(t, err, c.says, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, got, c.name)
	}
}

func TestMoreChannels(t *testing.T) {
	for _, c := range []struct{ name, file, cargo, want, says string }{
		{"a pin of a moving one", "[toolchain]\nchannel = \"stable-x86_64-unknown-linux-gnu\"\n", "", DefaultChannel, ""},
		{"components only", "[toolchain]\ncomponents = [\"clippy\"]\n", "", DefaultChannel, ""},
		{"beta", "beta-2026-01-01", "", "", `pins "beta-2026-01-01", which has no official image`},
		{"space only", " \n", "", DefaultChannel, ""},
		{"a floor of two parts", "", "[package]\nrust-version = \"1.100\"\n", "1.100", ""},
		{"a floor of another major version", "", "[package]\nrust-version = \"2.96\"\n", "2.96", ""},
		{"the higher of two floors", "", "[package]\nrust-version = \"1.98\"\n[workspace.package]\nrust-version = \"1.97\"\n", "1.98", ""},
		{"a floor that is none", "", "[package]\nrust-version = \"new\"\n", DefaultChannel, ""},
		{"a broken manifest", "", "[package\n", "", "read Cargo.toml"},
	} {
		got, err := Channel(c.file, c.cargo)
		if c.says != "" {
			assert.ErrorContains(t, err, c.says, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, got, c.name)
	}
}
