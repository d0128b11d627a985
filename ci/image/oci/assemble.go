package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// AssembleOptions configure [Assemble].
type AssembleOptions struct {
	// Bases finds the base images.
	Bases Bases
	// Dir is a directory for layers and, temporarily, archives. By default, the
	// system's for temporary files.
	Dir string
}

// Image is the assembled image of a release, for all platforms.
type Image struct {
	// Index of all platforms.
	Index  v1.ImageIndex
	Digest v1.Hash
	// Platforms of the index, sorted.
	Platforms []PlatformImage

	dir string
}

// PlatformImage is the image of one platform.
type PlatformImage struct {
	imagespec.Choice
	// Image of the platform.
	Image  v1.Image
	Digest v1.Hash
	// Pinned is the base image.
	Pinned Pin
}

// Close removes the layers. The image is unusable afterwards.
func (i *Image) Close() error { return os.RemoveAll(i.dir) }

// Assemble makes the image of a release: for every platform, the base image and a
// layer with the binaries and the included files, configured by the manifest. It
// pushes nothing, and leaves the base's layers in the registry: they are read on
// demand, in this context. The caller closes the image.
//
// The digest depends only on the release and the base images' digests.
func Assemble(ctx context.Context, r *published.Release, o AssembleOptions) (_ *Image, err error) {
	choices, err := imagespec.Choose(r.Manifest)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "gantry-image-")
	if err != nil {
		return nil, err
	}
	image := &Image{Platforms: make([]PlatformImage, len(choices)), dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, image.Close())
		}
	}()
	meta, err := imagespec.Annotations(r.Manifest)
	if err != nil {
		return nil, err
	}
	if r.Override != "" {
		meta[keyOverride] = r.Override
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, c := range choices {
		g.Go(func() error {
			// Base images are read in the context in which they are found, which must
			// outlive this function.
			p, err := assemble(gctx, r, o, c, meta, dir, func() (Base, error) { return o.Bases.Base(ctx, c.Base, c.Platform) })
			if err != nil {
				return fmt.Errorf("assemble the image of %q: %w", c.Platform, err)
			}
			image.Platforms[i] = *p
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return image, image.index(meta)
}

// index makes the index of the platforms' images.
func (i *Image) index(meta map[string]string) error {
	annotations := maps.Clone(meta)
	name := i.Platforms[0].Pinned.Name
	var adds []mutate.IndexAddendum
	for _, p := range i.Platforms {
		platform, err := v1.ParsePlatform(p.Platform)
		if err != nil {
			return err
		}
		adds = append(adds, mutate.IndexAddendum{Add: plain{p.Image}, Descriptor: v1.Descriptor{Platform: platform}})
		if p.Pinned.Name != name {
			name = ""
		}
	}
	// The base's digest differs by platform.
	if name != "" {
		annotations[imagespec.KeyBaseName] = name
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), adds...)
	i.Index = mutate.Annotations(index, annotations).(v1.ImageIndex)
	digest, err := i.Index.Digest()
	i.Digest = digest
	return err
}

// plain is an image with a descriptor without an artifact type, which has no meaning
// for images.
type plain struct{ v1.Image }

func (p plain) Descriptor() (*v1.Descriptor, error) {
	d, err := partial.Descriptor(p.Image)
	if err != nil {
		return nil, err
	}
	d.ArtifactType = ""
	return d, nil
}

func assemble(ctx context.Context, r *published.Release, o AssembleOptions, c imagespec.Choice, meta map[string]string, dir string, find func() (Base, error)) (*PlatformImage, error) {
	spec := r.Manifest.ImageSpec()
	base := Base{Name: imagespec.Scratch}
	if c.Base != imagespec.Scratch {
		var err error
		if base, err = find(); err != nil {
			return nil, err
		}
	}
	source, err := r.Fetch(ctx, c.Asset, dir)
	if err != nil {
		return nil, err
	}
	layer, err := makeLayer(ctx, source, c.Asset, spec.Include, commitDate(r), dir)
	if err := errors.Join(err, source.Close()); err != nil {
		return nil, err
	}
	img, err := onBase(base, c.Platform)
	if err != nil {
		return nil, err
	}
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		return nil, err
	}
	config, err := configFile(img, r, spec, c, base, meta)
	if err != nil {
		return nil, err
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	p := &PlatformImage{Choice: c}
	annotations := maps.Clone(meta)
	if base.Image != nil {
		p.Pinned = Pin{Name: base.Name, Digest: base.Digest.String()}
		annotations[imagespec.KeyBaseName], annotations[imagespec.KeyBaseDigest] = p.Pinned.Name, p.Pinned.Digest
	}
	p.Image = mutate.Annotations(img, annotations).(v1.Image)
	if p.Digest, err = p.Image.Digest(); err != nil {
		return nil, err
	}
	return p, nil
}

// commitDate returns the date of everything in an image.
func commitDate(r *published.Release) time.Time {
	t, _ := time.Parse(time.RFC3339, r.Manifest.CommitDate)
	return t.UTC()
}

// onBase returns an OCI image with the base's layers and an empty configuration. It
// converts a base in Docker's format, which has no annotations, but keeps the bytes of
// its layers.
func onBase(base Base, platform string) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if base.Image == nil {
		return img, nil
	}
	config, err := base.Image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read base image %q: %w", base.Name, err)
	}
	want, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	if have := config.Platform(); have == nil || !fits(*want, v1.Platform{OS: have.OS, Architecture: have.Architecture, Variant: want.Variant}) {
		return nil, fmt.Errorf("%w: %q is for %q, not for %q: set base to an image for the platform", imagespec.ErrBase, base.Name, have, platform)
	}
	layers, err := base.Image.Layers()
	if err != nil {
		return nil, fmt.Errorf("read base image %q: %w", base.Name, err)
	}
	for i, l := range layers {
		if layers[i], err = ociLayer(l); err != nil {
			return nil, fmt.Errorf("read base image %q: %w", base.Name, err)
		}
	}
	return mutate.AppendLayers(img, layers...)
}

// ociTypes maps Docker's media types to OCI's.
var ociTypes = map[types.MediaType]types.MediaType{
	types.DockerLayer:             types.OCILayer,
	types.DockerUncompressedLayer: types.OCIUncompressedLayer,
}

// retyped is a layer with another media type.
type retyped struct {
	v1.Layer
	mediaType types.MediaType
}

func (r retyped) MediaType() (types.MediaType, error) { return r.mediaType, nil }

func ociLayer(l v1.Layer) (v1.Layer, error) {
	mt, err := l.MediaType()
	if err != nil {
		return nil, err
	}
	if !mt.IsDistributable() {
		return nil, fmt.Errorf("%w: it has a layer of type %q, which must not be copied to another registry: set base to an image without such layers", imagespec.ErrBase, mt)
	}
	oci, ok := ociTypes[mt]
	if !ok {
		return l, nil
	}
	return retyped{l, oci}, nil
}

// configFile returns the configuration of a platform's image img.
func configFile(img v1.Image, r *published.Release, spec manifest.Image, c imagespec.Choice, base Base, meta map[string]string) (*v1.ConfigFile, error) {
	computed, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	platform, err := v1.ParsePlatform(c.Platform)
	if err != nil {
		return nil, err
	}
	config := &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant,
		Created: v1.Time{Time: commitDate(r)}, RootFS: computed.RootFS,
	}
	if base.Image != nil {
		from, err := base.Image.ConfigFile()
		if err != nil {
			return nil, err
		}
		config.Config, config.History = from.DeepCopy().Config, from.DeepCopy().History
	}
	config.History = append(config.History, v1.History{
		Created: v1.Time{Time: commitDate(r)}, CreatedBy: "gantry", Comment: c.Archive,
	})
	run := &config.Config
	// These describe the base's program, or the machine that built it.
	run.OnBuild, run.Hostname, run.Domainname, run.Image, run.Healthcheck, run.ArgsEscaped, run.MacAddress = nil, "", "", "", nil, false, ""
	if run.Entrypoint, err = imagespec.Entrypoint(r.Manifest, spec, c.Asset); err != nil {
		return nil, err
	}
	run.Cmd = spec.Cmd
	run.User = cmp.Or(spec.User, imagespec.DefaultUser)
	run.WorkingDir = cmp.Or(spec.Workdir, "/")
	run.Env = environment(run.Env, spec.Env)
	for _, port := range spec.Expose {
		if !strings.Contains(port, "/") {
			port += "/tcp"
		}
		if run.ExposedPorts == nil {
			run.ExposedPorts = map[string]struct{}{}
		}
		run.ExposedPorts[port] = struct{}{}
	}
	labels := map[string]string{}
	for key, value := range run.Labels {
		if !strings.HasPrefix(key, imagespec.KeyPrefix) { // the base's title, version, …
			labels[key] = value
		}
	}
	maps.Copy(labels, spec.Labels)
	maps.Copy(labels, meta)
	run.Labels = labels
	return config, nil
}

// environment adds variables to those of the base, which keep their order.
func environment(base []string, add map[string]string) []string {
	env := slices.Clone(base)
	set := func(key, variable string, over bool) {
		i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, key+"=") })
		switch {
		case i < 0:
			env = append(env, variable)
		case over:
			env[i] = variable
		}
	}
	set("PATH", defaultPath, false)
	for _, key := range sortedKeys(add) {
		set(key, key+"="+add[key], true)
	}
	return env
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
