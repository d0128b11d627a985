package oci_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// A tar archive that is read as a layout has an index, with the bytes that its
// digest says; every other one is refused.
func FuzzReadTarball(f *testing.F) {
	dir := f.TempDir()
	require.NoError(f, oci.WriteLayout(dir, tiny(f, "1.2.3"), "1.2.3"))
	var text bytes.Buffer
	require.NoError(f, oci.WriteTarball(&text, dir))
	f.Add(text.Bytes())
	f.Add(text.Bytes()[:2000])
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := oci.ReadTarball(bytes.NewReader(data), t.TempDir())
		if err != nil {
			return
		}
		raw, err := index.RawManifest()
		require.NoError(t, err)
		digest, err := index.Digest()
		require.NoError(t, err)
		require.Equal(t, digest.Hex, digestOf(raw))
	})
}

// Whatever is in place of an archive, an image is made only of the bytes that
// the manifest names.
func FuzzAssemble(f *testing.F) {
	sealed := newRelease(f, "1.2.3", both[0])
	good := sealed.assets[sealed.manifest.Assets[0].Name]
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(append(bytes.Clone(good), 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRelease(t, "1.2.3", both[0])
		a := r.manifest.Assets[0]
		r.put(a, data) // with its own digest: the manifest lies about what is in it
		rel, err := published.Load(context.Background(), r.seal().assets)
		require.NoError(t, err)
		dir := t.TempDir()
		image, err := oci.Assemble(context.Background(), rel, oci.AssembleOptions{Bases: bases(t), Dir: dir})
		if err != nil {
			assertEmpty(t, dir)
			return
		}
		_, _, contents := topLayer(t, image.Platforms[0].Image)
		require.Equal(t, a.Binaries[0].SHA256, digestOf(contents["usr/local/bin/server"]))
		require.NoError(t, image.Close())
		assertEmpty(t, dir)
	})
}

// Checksums and manifests that don't agree are refused.
func FuzzLoad(f *testing.F) {
	r := newRelease(f, "1.2.3", both[0]).seal()
	f.Add(r.assets[manifest.SumsName], r.assets[manifest.FileName])
	f.Fuzz(func(t *testing.T, sums, text []byte) {
		rel, err := published.Load(context.Background(), files{manifest.SumsName: sums, manifest.FileName: text})
		if err != nil {
			return
		}
		require.Equal(t, digestOf(text), rel.ManifestSHA256)
		require.Contains(t, string(sums), rel.ManifestSHA256)
	})
}
