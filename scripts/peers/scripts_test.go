package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serveRelease serves the archives of a release.
func serveRelease(t *testing.T) (url string, files map[string][]byte) {
	files = map[string][]byte{}
	var sums strings.Builder
	for _, target := range []string{"x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"} {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		for name, mode := range map[string]int64{"app": 0o755, "LICENSE": 0o644} {
			require.NoError(t, w.WriteHeader(&tar.Header{Name: "app-1.0.0-" + target + "/" + name, Mode: mode, Size: 3}))
			_, err := w.Write([]byte("abc"))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		require.NoError(t, z.Close())
		name := "app-1.0.0-" + target + ".tar.gz"
		files[name] = b.Bytes()
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(b.Bytes()), name)
	}
	files["SHA256SUMS"] = []byte(sums.String())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if data, ok := files[filepath.Base(r.URL.Path)]; ok {
			_, _ = w.Write(data)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, files
}

// Both scripts put exactly the programs of an archive into the image, and stop at one that
// is not the release's.
func TestScripts(t *testing.T) {
	for name, script := range map[string]struct{ text, variable, want string }{
		"crane": {craneScript, "CRANE", `append --insecure --platform=linux/amd64 -b base/image -f layer.tar -t registry/app:1.0.0-amd64
mutate --insecure --entrypoint=/usr/local/bin/app -t registry/app:1.0.0-amd64 registry/app:1.0.0-amd64
append --insecure --platform=linux/arm64 -b base/image -f layer.tar -t registry/app:1.0.0-arm64
mutate --insecure --entrypoint=/usr/local/bin/app -t registry/app:1.0.0-arm64 registry/app:1.0.0-arm64
index append --insecure -m registry/app:1.0.0-amd64 -m registry/app:1.0.0-arm64 -t registry/app:1.0.0
tag --insecure registry/app:1.0.0 1.0
tag --insecure registry/app:1.0.0 latest
`},
		"buildah": {buildahScript, "BUILDAH", `manifest exists local/app:1.0.0
manifest rm local/app:1.0.0
manifest create local/app:1.0.0
from --quiet --pull-always --tls-verify=false --arch amd64 --os linux base/image
copy --quiet container amd64/bin /usr/local/bin
config --arch amd64 --entrypoint ["/usr/local/bin/app"] container
commit --quiet --rm --manifest local/app:1.0.0 container
from --quiet --pull-always --tls-verify=false --arch arm64 --os linux base/image
copy --quiet container arm64/bin /usr/local/bin
config --arch arm64 --entrypoint ["/usr/local/bin/app"] container
commit --quiet --rm --manifest local/app:1.0.0 container
manifest push --quiet --all --tls-verify=false local/app:1.0.0 docker://registry/app:1.0.0
manifest push --quiet --all --tls-verify=false local/app:1.0.0 docker://registry/app:1.0
manifest push --quiet --all --tls-verify=false local/app:1.0.0 docker://registry/app:latest
`},
	} {
		t.Run(name, func(t *testing.T) {
			url, files := serveRelease(t)
			dir := t.TempDir()
			program, calls := filepath.Join(dir, "program"), filepath.Join(dir, "calls")
			// It writes its arguments down, without where buildah stores images.
			fake := "#!/bin/sh\n[ \"$1\" != --root ] || shift 4\necho \"$*\" >>" + calls + "\n[ \"$1\" != from ] || echo container\n"
			require.NoError(t, os.WriteFile(program, []byte(fake), 0o755))
			run := func(work string) error {
				require.NoError(t, os.MkdirAll(work, 0o755))
				_, err := Output(Command(t.Context(), work, []string{script.variable + "=" + program, "DOWNLOADS=" + url, "NAME=app", "BINARY=app", "VERSION=1.0.0",
					"BASE=base/image", "ADDRESS=registry/app", "TAGS=1.0 latest"}, "bash", "-c", script.text))
				return err
			}
			work := filepath.Join(dir, "right")
			require.NoError(t, run(work))
			text, err := os.ReadFile(calls)
			require.NoError(t, err)
			assert.Equal(t, script.want, string(text))
			programs, err := filepath.Glob(filepath.Join(work, "amd64", "bin", "*"))
			require.NoError(t, err)
			inCrane, err := filepath.Glob(filepath.Join(work, "amd64", "root", "usr", "local", "bin", "*"))
			require.NoError(t, err)
			all := append(programs, inCrane...)
			require.Len(t, all, 1, "the license is no program")
			assert.Equal(t, "app", filepath.Base(all[0]))

			files["app-1.0.0-x86_64-unknown-linux-musl.tar.gz"] = []byte("not the release's")
			assert.ErrorContains(t, run(filepath.Join(dir, "wrong")), "did NOT match")
		})
	}
}

// The stand-in of docker is buildx and nothing else.
func TestShims(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, writeShims(dir, "docker", "rustup"))
	out, err := Output(Command(t.Context(), dir, []string{"PEERS_BUILDX=/bin/echo"}, filepath.Join(dir, "docker"), "buildx", "build", "--push", "."))
	require.NoError(t, err)
	assert.Equal(t, "build --push .", out)
	_, err = Output(Command(t.Context(), dir, nil, filepath.Join(dir, "docker"), "info"))
	assert.Error(t, err)
	_, err = Output(Command(t.Context(), dir, nil, filepath.Join(dir, "rustup"), "target", "add", "x"))
	assert.NoError(t, err)
}
