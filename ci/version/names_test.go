package version

import (
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
)

func TestNamesVersion(t *testing.T) {
	for _, c := range []struct {
		version, output string
		want            bool
	}{
		{"1.2.3", "1.2.3", true},
		{"1.2.3", "server 1.2.3\n", true},
		{"1.2.3", "server v1.2.3 (5f0c1d2 2026-04-14)", true},
		{"1.2.3", "Version: V1.2.3.", true},
		{"1.2.3", "server/1.2.3 linux", true},
		{"1.2.3", "server-1.2.3", true},
		{"1.2.3", "server_v1.2.3", true},
		{"1.2.3", "server 1.2.3+5f0c1d2", true},
		{"1.2.3", "1.2.3 - a server", true},
		{"1.2.3", "11.2.3, built for 1.2.3", true},
		{"1.2.3", `{"version":"1.2.3"}`, true},
		{"1.2.3", "", false},
		{"1.2.3", "server 11.2.30", false},
		{"1.2.3", "server 11.2.3", false},
		{"1.2.3", "server 1.2.30", false},
		{"1.2.3", "server 0.1.2.3", false},
		{"1.2.3", "server 1.2.3.4", false},
		{"1.2.3", "server 1.2.3-rc.1", false},
		{"1.2.3", "server 1.2.3-5-g5f0c1d2", false},
		{"1.2.3", "server 1.2.3rc1", false},
		{"1.2.3", "server 1.2.3_1", false},
		{"1.2.3", "dev1.2.3", false},
		{"1.2.3", "1.0.0-1.2.3", false},
		{"1.2.3", "1.0.0+1.2.3", false},
		{"1.2.0-rc.1", "server 1.2.0-rc.1", true},
		{"1.2.0-rc.1", "server 1.2.0", true},
		{"1.2.0-rc.1", "server 1.2.0-rc.10", false},
		{"1.2.0-rc.1", "server 1.2.0-rc.2", false},
		{"1.2.0-rc.1", "server 11.2.0", false},
		{"1.2.0-rc.1", "server 1.2.1", false},
	} {
		assert.Equal(t, c.want, NamesVersion(c.output, semver.MustParse(c.version)), "%s in %q", c.version, c.output)
	}
}

func TestNamesAnyVersion(t *testing.T) {
	for _, output := range []string{"1.2.3", "app 1.2.3", "app/1.2.3 (5f0c1d2)", "v1.2.3,", "version 1.2.3.", "1.2.3-rc.1", "app v1.2.3+5f0c1d2 (linux)", "127.0.0.1 and 1.2.3"} {
		assert.True(t, NamesAnyVersion(output), output)
	}
	for _, output := range []string{"", "Hello, world!", "127.0.0.1", "app 1.2", "x1.2.3", "1.2.3x", "1.2.3.4", "1..2.3"} {
		assert.False(t, NamesAnyVersion(output), output)
	}
}
