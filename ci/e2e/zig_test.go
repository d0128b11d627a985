package e2e

import (
	"os"
	"testing"

	"dagger.io/dagger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/binary"
)

// zigRequirements are cargo-zigbuild and zig, as docs/targets.md installs them.
const zigRequirements = `cargo-zigbuild==0.24.1 --hash=sha256:238a1ab54a95053a4eadc34775c81f795a8ad75f80bfed63f3f445f518102375
ziglang==0.17.1 --hash=sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54
`

// zig returns a toolchain with cargo-zigbuild.
func zig(client *dagger.Client) *dagger.Container {
	return client.Container().From("rust:1.96-bookworm").
		WithExec([]string{"sh", "-euc", "apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-pip"}).
		WithNewFile("/zig.txt", zigRequirements).
		WithExec([]string{"pip", "install", "--break-system-packages", "--no-deps", "--quiet", "--require-hashes", "--requirement", "/zig.txt"})
}

// cargo-zigbuild links against the glibc that max-glibc names, for the native and for
// another architecture, where a plain build needs that of the toolchain's image.
func TestZigbuildForAnOlderGlibc(t *testing.T) {
	client := connect(t)
	dir := tiny(t, "\n[package.metadata.gantry]\nmax-glibc = \"2.17\"\n")
	_, err := buildIn(t, client, dir, client.Container().From("rust:1.96-bookworm"), "build", native)
	assert.ErrorContains(t, err, `but target "x86_64-unknown-linux-gnu" allows at most 2.17: build it in an older toolchain image, for a musl target, or with cargo-zigbuild`)

	for target, arch := range map[string]string{native: "x86_64", foreign: "aarch64"} {
		path, err := buildIn(t, client, dir, zig(client), "zigbuild", target)
		require.NoError(t, err, target)
		f, err := os.Open(path)
		require.NoError(t, err)
		defer f.Close()
		info, err := f.Stat()
		require.NoError(t, err)
		facts, err := binary.Inspect(f, info.Size())
		require.NoError(t, err)
		assert.Equal(t, arch, facts.Arch)
		require.Equal(t, binary.Dynamic, facts.Linkage)
		assert.NotEmpty(t, facts.GlibcFloor)
		assert.LessOrEqual(t, binary.CompareVersions(facts.GlibcFloor, "2.17"), 0, "%s needs glibc %s", target, facts.GlibcFloor)
		if target == native {
			assert.Equal(t, "tiny 1.0.0\n", run(t, ".", path))
		}
	}
}
