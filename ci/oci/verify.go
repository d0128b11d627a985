package oci

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
)

// Finding is something that is wrong with a published image.
type Finding struct {
	// Platform it is about; empty for the whole index.
	Platform string `json:"platform,omitempty"`
	// Message says what is wrong.
	Message string `json:"message"`
}

// String is the finding in a line.
func (f Finding) String() string {
	if f.Platform == "" {
		return f.Message
	}
	return f.Platform + ": " + f.Message
}

// VerifyOptions direct [VerifyImage].
type VerifyOptions struct {
	ChooseOptions
	// Reference to verify, a tag or a digest; by default, the exact version's
	// tag.
	Reference string
	// Digest of the assembled index; zero when it isn't known, so that only what
	// the registry holds is compared with the manifest.
	Digest v1.Hash
}

// VerifyImage compares a published image with its release: the digest of the
// index with that of the assembled one, the platforms, for each of them the
// bytes of every binary as a container would see them, how it is run, and what
// the annotations say it is. It returns everything that is wrong.
//
// An error means that something could not be read, so that nobody knows.
func VerifyImage(ctx context.Context, m *manifest.Manifest, r *Repository, o VerifyOptions) ([]Finding, error) {
	if o.Reference == "" {
		o.Reference = m.Version
	}
	choices, err := Choose(m, o.ChooseOptions)
	if err != nil {
		return nil, err
	}
	index, err := r.Index(ctx, o.Reference)
	if errors.Is(err, ErrNotFound) {
		return []Finding{{Message: fmt.Sprintf("%q of %q is not there", o.Reference, r)}}, nil
	}
	if errors.Is(err, errNoIndex) {
		return []Finding{{Message: fmt.Sprintf("%q of %q is not the release's: %v", o.Reference, r, err)}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("verify the image: %w", err)
	}
	v := &verifier{m: m, o: r.o}
	if err := v.index(ctx, index, choices, o.Digest); err != nil {
		return v.findings, fmt.Errorf("verify %q of %q: %w", o.Reference, r, err)
	}
	return v.findings, nil
}

type verifier struct {
	m        *manifest.Manifest
	o        RegistryOptions
	platform string
	findings []Finding
}

func (v *verifier) find(format string, args ...any) {
	v.findings = append(v.findings, Finding{v.platform, fmt.Sprintf(format, args...)})
}

func (v *verifier) index(ctx context.Context, index v1.ImageIndex, choices []Choice, want v1.Hash) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if want != (v1.Hash{}) && digest != want {
		v.find("the index is %s, and the one assembled from the release %s", digest, want)
	}
	im, err := index.IndexManifest()
	if err != nil {
		return err
	}
	v.annotations("the index", im.Annotations)
	there := map[string]v1.Descriptor{}
	for _, d := range im.Manifests {
		name := "unknown"
		if d.Platform != nil {
			name = d.Platform.String()
		}
		if _, twice := there[name]; twice {
			v.find("platform %q is in the index twice", name)
		}
		there[name] = d
	}
	for _, c := range choices {
		v.platform = c.Platform
		d, ok := there[c.Platform]
		if !ok {
			v.find("the index doesn't have the platform")
			continue
		}
		delete(there, c.Platform)
		if err := v.unlessKnown(v.again(ctx, func() error { return v.image(index, d, c) })); err != nil {
			return fmt.Errorf("platform %q: %w", c.Platform, err)
		}
	}
	v.platform = ""
	for _, name := range sortedKeys(there) {
		v.find("platform %q is not the release's", name)
	}
	return nil
}

// again reads an image once more when the connection broke meanwhile.
func (v *verifier) again(ctx context.Context, read func() error) error {
	before := len(v.findings)
	for try := 1; ; try++ {
		err := read()
		var refused *transport.Error // which the transport tried again itself
		if !transient(err) || errors.As(err, &refused) || try >= v.o.Tries {
			return err
		}
		v.findings = v.findings[:before]
		if err := v.o.Sleep(ctx, v.o.backoff(try)); err != nil {
			return err
		}
	}
}

// unlessKnown turns an error that says that the registry's content is damaged
// into a finding; what is left means that it couldn't be read.
func (v *verifier) unlessKnown(err error) error {
	var refused *transport.Error
	var network net.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errStalled), errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case errors.As(err, &refused):
		// The index names it, so that it should be there.
		if !slices.ContainsFunc(refused.Errors, func(d transport.Diagnostic) bool {
			return refused.StatusCode == http.StatusNotFound && d.Code != transport.UnauthorizedErrorCode && d.Code != transport.DeniedErrorCode
		}) {
			return err
		}
	case errors.As(err, &network):
		return err
	}
	v.find("it is damaged: %v", err)
	return nil
}

func (v *verifier) annotations(of string, have map[string]string) {
	for _, want := range []struct{ key, value string }{
		{keyVersion, v.m.Version}, {keyRevision, v.m.Commit}, {keySource, v.m.Repository}, {keyCreated, v.m.CommitDate},
	} {
		if want.key == keySource && v.m.Image != nil && v.m.Image.Labels[keySource] != "" {
			want.value = v.m.Image.Labels[keySource]
		}
		if have[want.key] != want.value {
			v.find("%s says %q is %q, and the release %q", of, want.key, have[want.key], want.value)
		}
	}
}

func (v *verifier) image(index v1.ImageIndex, d v1.Descriptor, c Choice) error {
	img, err := index.Image(d.Digest)
	if err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	v.annotations("the manifest", m.Annotations)
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	v.annotations("the configuration", config.Config.Labels)
	spec := manifest.Image{}
	if v.m.Image != nil {
		spec = *v.m.Image
	}
	want, err := imagespec.Entrypoint(v.m, spec, c.Asset)
	if err != nil {
		return err
	}
	if !slices.Equal(config.Config.Entrypoint, want) {
		v.find("the entrypoint is %q, not %q", config.Config.Entrypoint, want)
	}
	if !slices.Equal(config.Config.Cmd, spec.Cmd) {
		v.find("the command is %q, not %q", config.Config.Cmd, spec.Cmd)
	}
	if spec.User == "" {
		spec.User = DefaultUser
	}
	if config.Config.User != spec.User {
		v.find("the user is %q, not %q", config.Config.User, spec.User)
	}
	if p, err := v1.ParsePlatform(c.Platform); err != nil || config.OS != p.OS || config.Architecture != p.Architecture {
		v.find("the configuration is for %s/%s", config.OS, config.Architecture)
	}
	return v.binaries(img, c)
}

// binaries compares the binaries in an image, as a container would see them,
// with those of the manifest.
func (v *verifier) binaries(img v1.Image, c Choice) error {
	wanted := map[string]string{}
	for _, b := range c.Asset.Binaries {
		wanted[strings.TrimPrefix(path.Join(BinDir, b.Name), "/")] = b.SHA256
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	slices.Reverse(layers)
	for _, l := range layers {
		if len(wanted) == 0 {
			return nil // what lies below can't be seen
		}
		seen, err := readLayer(l, wanted)
		if err != nil {
			return err
		}
		for _, name := range sortedKeys(wanted) {
			e, ok := seen[name]
			switch {
			case !ok:
				continue
			case e.problem != "":
				v.find("binary %q: %s", "/"+name, e.problem)
			case e.sha256 != wanted[name]:
				v.find("binary %q has the SHA-256 %s, and that of archive %q %s", "/"+name, e.sha256, c.Archive, wanted[name])
			}
			delete(wanted, name)
		}
	}
	for _, name := range sortedKeys(wanted) {
		v.find("binary %q is not there", "/"+name)
	}
	return nil
}

// entry is what one layer makes of a path.
type entry struct{ sha256, problem string }

// maxLayer bounds what is unpacked of a layer.
const maxLayer = 16 << 30

// readLayer reads a whole layer, so that its digest is checked, and returns
// what it makes of the wanted paths: nothing, a file, or a problem. As in a
// container, the last entry of a path counts.
func readLayer(l v1.Layer, wanted map[string]string) (map[string]entry, error) {
	content, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	limited := io.LimitReader(content, maxLayer)
	seen := map[string]entry{}
	hidden := map[string]string{}
	hide := func(name, why string) {
		for p := range wanted {
			if p == name || strings.HasPrefix(p, name+"/") {
				hidden[p] = why
			}
		}
	}
	t := tar.NewReader(limited)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		dir, base := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		if whited, ok := strings.CutPrefix(base, ".wh."); ok {
			if base == ".wh..wh..opq" {
				hide(dir, "a layer above it hides it")
			} else {
				hide(path.Join(dir, whited), "a layer above it deletes it")
			}
			continue
		}
		if _, ok := wanted[name]; !ok {
			// A folder that something else takes the place of.
			if h.Typeflag != tar.TypeDir {
				hide(name, fmt.Sprintf("%q is no folder", "/"+name))
			}
			continue
		}
		if h.Typeflag != tar.TypeReg {
			seen[name] = entry{problem: "it is no regular file"}
			continue
		}
		digest := sha256.New()
		if _, err := io.Copy(digest, t); err != nil {
			return nil, err
		}
		e := entry{sha256: hex.EncodeToString(digest.Sum(nil))}
		if h.Mode&0o111 != 0o111 {
			e.problem = fmt.Sprintf("its mode is %#o, and not everybody may execute it", h.Mode)
		}
		seen[name] = e
	}
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return nil, err
	}
	for name, why := range hidden {
		if _, ok := seen[name]; !ok || strings.HasSuffix(why, "is no folder") {
			seen[name] = entry{problem: why}
		}
	}
	return seen, nil
}
