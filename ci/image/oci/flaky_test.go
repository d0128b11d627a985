package oci_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/imagespec"
)

var errFlaky = errors.New("flaky")

// flaky makes the n-th question to an index, its images and their layers fail.
type flaky struct {
	n     int
	asked string // what failed
}

// fails says whether this is the question that fails.
func (f *flaky) fails(question string) bool {
	f.n--
	if f.n == 0 {
		f.asked = question
	}
	return f.n == 0
}

func ask[T any](f *flaky, question string, answer func() (T, error)) (T, error) {
	if f.fails(question) {
		var none T
		return none, errFlaky
	}
	return answer()
}

type anIndex = v1.ImageIndex // it has a method of its own name

type flakyIndex struct {
	anIndex
	f *flaky
}

func (i flakyIndex) MediaType() (types.MediaType, error) {
	return ask(i.f, "index: media type", i.anIndex.MediaType)
}
func (i flakyIndex) Digest() (v1.Hash, error) { return ask(i.f, "index: digest", i.anIndex.Digest) }
func (i flakyIndex) Size() (int64, error)     { return ask(i.f, "index: size", i.anIndex.Size) }
func (i flakyIndex) IndexManifest() (*v1.IndexManifest, error) {
	return ask(i.f, "index: manifest", i.anIndex.IndexManifest)
}
func (i flakyIndex) RawManifest() ([]byte, error) {
	return ask(i.f, "index: raw manifest", i.anIndex.RawManifest)
}
func (i flakyIndex) Image(h v1.Hash) (v1.Image, error) {
	return ask(i.f, "index: image", func() (v1.Image, error) {
		img, err := i.anIndex.Image(h)
		return flakyImage{img, i.f}, err
	})
}

type flakyImage struct {
	v1.Image
	f *flaky
}

func (i flakyImage) MediaType() (types.MediaType, error) {
	return ask(i.f, "image: media type", i.Image.MediaType)
}
func (i flakyImage) Digest() (v1.Hash, error) { return ask(i.f, "image: digest", i.Image.Digest) }
func (i flakyImage) Size() (int64, error)     { return ask(i.f, "image: size", i.Image.Size) }
func (i flakyImage) ConfigName() (v1.Hash, error) {
	return ask(i.f, "image: config name", i.Image.ConfigName)
}
func (i flakyImage) Manifest() (*v1.Manifest, error) {
	return ask(i.f, "image: manifest", i.Image.Manifest)
}
func (i flakyImage) RawManifest() ([]byte, error) {
	return ask(i.f, "image: raw manifest", i.Image.RawManifest)
}
func (i flakyImage) ConfigFile() (*v1.ConfigFile, error) {
	return ask(i.f, "image: config", i.Image.ConfigFile)
}
func (i flakyImage) RawConfigFile() ([]byte, error) {
	return ask(i.f, "image: raw config", i.Image.RawConfigFile)
}
func (i flakyImage) Layers() ([]v1.Layer, error) {
	return ask(i.f, "image: layers", func() ([]v1.Layer, error) {
		layers, err := i.Image.Layers()
		var all []v1.Layer
		for _, l := range layers {
			all = append(all, flakyLayer{l, i.f})
		}
		return all, err
	})
}

type flakyLayer struct {
	v1.Layer
	f *flaky
}

func (l flakyLayer) Digest() (v1.Hash, error) { return ask(l.f, "layer: digest", l.Layer.Digest) }
func (l flakyLayer) DiffID() (v1.Hash, error) { return ask(l.f, "layer: diff ID", l.Layer.DiffID) }
func (l flakyLayer) Size() (int64, error)     { return ask(l.f, "layer: size", l.Layer.Size) }
func (l flakyLayer) MediaType() (types.MediaType, error) {
	return ask(l.f, "layer: media type", l.Layer.MediaType)
}
func (l flakyLayer) Compressed() (io.ReadCloser, error) {
	return ask(l.f, "layer: content", l.Layer.Compressed)
}
func (l flakyLayer) Uncompressed() (io.ReadCloser, error) {
	return ask(l.f, "layer: unpacked content", l.Layer.Uncompressed)
}

// Whatever of an image can't be read, wherever it is asked for, ends what it is
// asked for; it is never taken for an image without that part.
func TestEveryQuestionToAnImage(t *testing.T) {
	rel := newRelease(t, "1.2.3", both...)
	image := rel.assemble()
	all := bases(t)
	one := newRelease(t, "1.2.3", "x86_64-unknown-linux-gnu") // on Docker's format, which is converted
	for name, do := range map[string]func(*testing.T, func(v1.ImageIndex) v1.ImageIndex) error{
		"publish": func(t *testing.T, flaky func(v1.ImageIndex) v1.ImageIndex) error {
			h := newHub(t)
			_, err := oci.Publish(context.Background(), oci.Publication{
				Version: must(versionOf("1.2.3")), Index: flaky(image.Index), Attachments: []oci.Attachment{note("", "of the index"), note("linux/amd64", "of an image")},
			}, h.open())
			if err == nil { // the library asked for it again
				h.name(image.Index, "it")
				require.Equal(t, "  1 = <it>\n  1.2 = <it>\n  1.2.3 = <it>\n  latest = <it>\n", h.tags())
			}
			return err
		},
		"assemble": func(t *testing.T, flaky func(v1.ImageIndex) v1.ImageIndex) error {
			image, err := oci.Assemble(context.Background(), one.load(), oci.AssembleOptions{
				Bases: ocitest.Bases{imagespec.GlibcBase: flaky(all[imagespec.GlibcBase])}, Dir: t.TempDir(),
			})
			if err != nil {
				return err
			}
			return image.Close()
		},
		"find a base image": func(t *testing.T, flaky func(v1.ImageIndex) v1.ImageIndex) error {
			_, err := ocitest.Bases{imagespec.StaticBase: flaky(all[imagespec.StaticBase])}.Base(context.Background(), imagespec.StaticBase, "linux/amd64")
			return err
		},
		"read the base images": func(t *testing.T, flaky func(v1.ImageIndex) v1.ImageIndex) error {
			_, err := oci.PinsOf(flaky(image.Index))
			return err
		},
		"verify": func(t *testing.T, flaky func(v1.ImageIndex) v1.ImageIndex) error {
			verified, err := oci.VerifyIndex(context.Background(), rel.manifest, flaky(image.Index), oci.VerifyOptions{})
			if err == nil && len(verified.Findings) > 0 {
				err = fmt.Errorf("%s", verified.Text())
				require.ErrorContains(t, err, "it is damaged: flaky")
				require.Len(t, verified.Findings, 1)
				err = errFlaky
			}
			return err
		},
		"write a layout": func(t *testing.T, flaky func(v1.ImageIndex) v1.ImageIndex) error {
			return oci.WriteLayout(t.TempDir(), flaky(image.Index), "1.2.3")
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := 1
			for ; ; n++ {
				f := &flaky{n: n}
				err := do(t, func(index v1.ImageIndex) v1.ImageIndex { return flakyIndex{index, f} })
				if f.asked == "" {
					require.NoError(t, err)
					break
				}
				if name == "publish" && err == nil {
					continue
				}
				require.ErrorIs(t, err, errFlaky, "question %d (%s)", n, f.asked)
			}
			require.Greater(t, n, 1)
			t.Logf("%d questions", n-1)
		})
	}
}

// fullDisk takes a number of writes.
type fullDisk struct{ left int }

var errFull = errors.New("no space left on device")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left--; d.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// Whichever write of an archive fails, its error is returned.
func TestArchiveOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, oci.WriteLayout(dir, newRelease(t, "1.2.3", both...).assemble().Index, "1.2.3"))
	require.NoError(t, oci.WriteTarball(io.Discard, dir))
	for n := 0; ; n++ {
		disk := &fullDisk{left: n}
		err := oci.WriteTarball(disk, dir)
		if disk.left >= 0 {
			require.NoError(t, err)
			require.Greater(t, n, 20)
			break
		}
		require.ErrorIs(t, err, errFull, "write %d", n+1)
		require.ErrorContains(t, err, "write the OCI archive: ")
	}
	require.Error(t, oci.WriteTarball(&bytes.Buffer{}, t.TempDir()+"/none"))
}
