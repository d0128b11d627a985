package oci

import (
	"archive/tar"
	"cmp"
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
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/version"
	"dagger/gantry/ci/wire"
)

// Finding is a mismatch of a published image.
type Finding struct {
	// Platform of the image; empty for the index.
	Platform string `json:"platform,omitempty"`
	Message  string `json:"message"`
}

// String renders the finding in one line.
func (f Finding) String() string {
	if f.Platform == "" {
		return f.Message
	}
	return f.Platform + ": " + f.Message
}

// Verification reports how a published image compares with its release.
type Verification struct {
	// Digest of the index, "sha256:…", or empty.
	Digest   string    `json:"digest,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	// Bases has the base images by the image's annotations.
	Bases []BaseState `json:"bases,omitempty"`
	// Attached has what is attached to the images; see [VerifyOptions].
	Attached []Attached `json:"attached,omitempty"`
}

// BaseState is the base image of a platform, and what its name names now.
type BaseState struct {
	Platform string `json:"platform"`
	Pin
	// Now is the digest that the name has now; empty if unknown, for the reason in
	// Unknown.
	Now     string `json:"now,omitempty"`
	Unknown string `json:"unknown,omitempty"`
}

// String renders the base image in one line.
func (b BaseState) String() string {
	text := fmt.Sprintf("%s: base %s@%s, ", b.Platform, b.Name, b.Digest)
	switch {
	case b.Now == b.Digest:
		return text + "which the tag still names"
	case b.Now != "":
		return text + "but the tag now names " + b.Now
	}
	return text + "and it is unknown what the tag now names: " + b.Unknown
}

// Text renders the base images and the findings for people, a line each.
func (v *Verification) Text() string {
	var b strings.Builder
	for _, base := range v.Bases {
		fmt.Fprintf(&b, "%s\n", base)
	}
	for _, a := range v.Attached {
		fmt.Fprintf(&b, "%s\n", a)
	}
	for _, f := range v.Findings {
		fmt.Fprintf(&b, "- %s\n", f)
	}
	return b.String()
}

// VerifyOptions configure [VerifyImage].
type VerifyOptions struct {
	// Reference is a tag or a digest; by default, the tag of the exact version.
	Reference string
	// Digest of the assembled index, if known.
	Digest v1.Hash
	// Bases, if set, finds what the tags of base images name now.
	Bases Bases
	// CurrentBase makes it a finding if the tag of the base image has moved.
	CurrentBase bool
	// Attached finds what is attached to the image of each platform.
	Attached bool
	// SBOMs makes it a finding if the image of a platform lacks the release's bills of
	// materials, or if the release has none.
	SBOMs bool
	// By, if set, makes it a finding if the index lacks a signature and the provenance
	// by whom it verifies. ManifestSHA256 is that of the release.
	By             attest.Verifier
	ManifestSHA256 string
	// Deadline bounds the verification. By default, 30 minutes.
	Deadline time.Duration
}

// VerifyImage compares a published image with its release: the digest of the index with
// that of the assembled one, the platforms, and on each platform the bytes of every
// binary as in a container, the base image, the configuration and the annotations. It
// returns all findings.
//
// An error means that something could not be read.
func VerifyImage(ctx context.Context, m *manifest.Manifest, r *Repository, o VerifyOptions) (*Verification, error) {
	if o.Deadline <= 0 {
		o.Deadline = 30 * time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Deadline, fmt.Errorf("the deadline of %s passed", o.Deadline))
	defer cancel()
	if o.Reference == "" {
		parsed, err := version.Parse(m.Version)
		if err != nil {
			return nil, err
		}
		o.Reference = m.Image.TagOptions().Exact(parsed)
	}
	choices, err := imagespec.Choose(m)
	if err != nil {
		return nil, err
	}
	v := &verifier{m: m, o: r.o, options: o, result: &Verification{}}
	index, err := r.Index(ctx, o.Reference)
	switch {
	case errors.Is(err, ErrNotFound):
		v.find("%q of %q does not exist", o.Reference, r)
		return v.result, nil
	case errors.Is(err, errNoIndex):
		v.find("%q of %q is not the release's: %v", o.Reference, r, err)
		return v.result, nil
	case err != nil:
		return nil, fmt.Errorf("verify the image: %w", err)
	}
	err = v.index(ctx, index, choices)
	if err == nil && (o.Attached || o.By != nil) {
		err = v.signed(ctx, r, index)
	}
	if err == nil && (o.Attached || o.SBOMs) {
		err = v.attached(ctx, r, index, choices)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return v.result, fmt.Errorf("verify %q of %q: %w", o.Reference, r, err)
	}
	return v.result, nil
}

type verifier struct {
	m        *manifest.Manifest
	o        RegistryOptions
	options  VerifyOptions
	platform string
	result   *Verification
}

func (v *verifier) find(format string, args ...any) {
	v.result.Findings = append(v.result.Findings, Finding{v.platform, fmt.Sprintf(format, args...)})
}

func (v *verifier) index(ctx context.Context, index v1.ImageIndex, choices []imagespec.Choice) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	v.result.Digest = digest.String()
	if want := v.options.Digest; want != (v1.Hash{}) && digest != want {
		v.find("the index is %s, but the one assembled from the release is %s", digest, want)
	}
	im, err := index.IndexManifest()
	if err != nil {
		return err
	}
	v.annotations("the index", im.Annotations)
	platforms := map[string]v1.Descriptor{}
	for _, d := range im.Manifests {
		name := "unknown"
		if d.Platform != nil {
			name = d.Platform.String()
		}
		if _, twice := platforms[name]; twice {
			v.find("platform %q appears twice in the index", name)
		}
		platforms[name] = d
	}
	for _, c := range choices {
		v.platform = c.Platform
		d, ok := platforms[c.Platform]
		if !ok {
			v.find("the index lacks the platform")
			continue
		}
		delete(platforms, c.Platform)
		if err := v.unlessKnown(v.again(ctx, func() error { return v.image(ctx, index, d, c) })); err != nil {
			return fmt.Errorf("platform %q: %w", c.Platform, err)
		}
	}
	v.platform = ""
	for _, name := range sortedKeys(platforms) {
		v.find("platform %q is not the release's", name)
	}
	return nil
}

// again reads an image again after a broken connection.
func (v *verifier) again(ctx context.Context, read func() error) error {
	findings, bases := len(v.result.Findings), len(v.result.Bases)
	for try := 1; ; try++ {
		err := read()
		var refused *transport.Error // the transport retried it
		if !transient(err) || errors.As(err, &refused) || try >= v.o.Tries {
			return err
		}
		v.result.Findings, v.result.Bases = v.result.Findings[:findings], v.result.Bases[:bases]
		if err := v.o.pause(ctx, try); err != nil {
			return err
		}
	}
}

// unknownError reports a failed read of something other than the image.
type unknownError struct{ error }

func (e *unknownError) Unwrap() error { return e.error }

// unlessKnown makes a finding of an error that reports damaged content in the registry.
// Other errors are failed reads.
func (v *verifier) unlessKnown(err error) error {
	if err == nil || !damaged(err) {
		return err
	}
	v.find("it is damaged: %v", err)
	return nil
}

// damaged reports whether an error is about the content in the registry.
func damaged(err error) bool {
	var refused *transport.Error
	var network net.Error
	switch {
	case errors.As(err, new(*unknownError)), wire.IsBroken(err), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &refused):
		// The index names it, so it should exist.
		return slices.ContainsFunc(refused.Errors, func(d transport.Diagnostic) bool {
			return refused.StatusCode == http.StatusNotFound && d.Code != transport.UnauthorizedErrorCode && d.Code != transport.DeniedErrorCode
		})
	}
	return !errors.As(err, &network)
}

func (v *verifier) annotations(of string, have map[string]string) {
	for _, want := range []struct{ key, value string }{
		{imagespec.KeyVersion, v.m.Version}, {imagespec.KeyRevision, v.m.Commit}, {imagespec.KeySource, cmp.Or(v.m.ImageSpec().Labels[imagespec.KeySource], v.m.Repository)}, {imagespec.KeyCreated, v.m.CommitDate},
	} {
		if have[want.key] != want.value {
			v.find("%s has %q = %q, but the release has %q", of, want.key, have[want.key], want.value)
		}
	}
}

func (v *verifier) image(ctx context.Context, index v1.ImageIndex, d v1.Descriptor, c imagespec.Choice) error {
	img, err := index.Image(d.Digest)
	if err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	v.annotations("the manifest", m.Annotations)
	if err := v.base(ctx, m.Annotations, c); err != nil {
		return &unknownError{err}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	v.annotations("the configuration", config.Config.Labels)
	spec := v.m.ImageSpec()
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
	if user := cmp.Or(spec.User, imagespec.DefaultUser); config.Config.User != user {
		v.find("the user is %q, not %q", config.Config.User, user)
	}
	v.runs(config.Config, spec)
	if p, err := v1.ParsePlatform(c.Platform); err != nil || config.OS != p.OS || config.Architecture != p.Architecture {
		v.find("the configuration is for %s/%s", config.OS, config.Architecture)
	}
	return v.binaries(img, c)
}

// runs compares the rest of a container's configuration.
func (v *verifier) runs(have v1.Config, spec manifest.Image) {
	dir := cmp.Or(spec.Workdir, "/")
	if have.WorkingDir != dir {
		v.find("the working directory is %q, not %q", have.WorkingDir, dir)
	}
	for _, key := range sortedKeys(spec.Env) {
		if want := key + "=" + spec.Env[key]; !slices.Contains(have.Env, want) {
			v.find("the environment lacks %q", want)
		}
	}
	for _, port := range spec.Expose {
		if !strings.Contains(port, "/") {
			port += "/tcp"
		}
		if _, ok := have.ExposedPorts[port]; !ok {
			v.find("the port %q is not exposed", port)
		}
	}
	for _, key := range sortedKeys(spec.Labels) {
		if got, ok := have.Labels[key]; !ok || got != spec.Labels[key] {
			v.find("the label %q is %q, not %q", key, got, spec.Labels[key])
		}
	}
}

// base compares the base image in an image's annotations with the manifest's, and with
// what its name names now. Another tag is another image.
func (v *verifier) base(ctx context.Context, annotations map[string]string, c imagespec.Choice) error {
	name, digest := annotations[imagespec.KeyBaseName], annotations[imagespec.KeyBaseDigest]
	want, pinned, _ := strings.Cut(c.Base, "@")
	named := v.m.ImageSpec().Base != ""
	switch {
	case c.Base == imagespec.Scratch:
		if name != "" || digest != "" {
			v.find("the base image is %q, but the release has none", name)
		}
		return nil
	case name == "" || digest == "":
		v.find("its annotations do not name the base image")
		return nil
	case named && name != want:
		v.find("the base image is %q, but the release names %q", name, want)
	}
	state := BaseState{Platform: c.Platform, Pin: Pin{Name: name, Digest: digest}}
	if v.options.Bases == nil {
		state.Unknown = "it was not read"
	} else if now, err := v.options.Bases.Base(ctx, name, c.Platform); err != nil {
		state.Unknown = err.Error()
	} else {
		state.Now = now.Digest.String()
	}
	v.result.Bases = append(v.result.Bases, state)
	if named && name == want && pinned != "" && pinned != digest {
		if v.options.Bases == nil {
			return fmt.Errorf("the release names the base image %q, whose image of %s is unknown", c.Base, c.Platform)
		}
		// It may be the digest of an index.
		fixed, err := v.options.Bases.Base(ctx, c.Base, c.Platform)
		if err != nil {
			return err
		}
		if fixed.Digest.String() != digest {
			v.find("the base image is %q, but the release names %q, which is %s on the platform", name+"@"+digest, c.Base, fixed.Digest)
		}
	}
	switch {
	case !v.options.CurrentBase:
	case state.Now == "":
		return fmt.Errorf("what the base image %q names now is unknown: %s", name, state.Unknown)
	case state.Now != digest:
		v.find("the base image %q was %s and is now %s: release a new version to use it", name, digest, state.Now)
	}
	return nil
}

// binaries compares the binaries in an image, as in a container, with the manifest.
func (v *verifier) binaries(img v1.Image, c imagespec.Choice) error {
	wanted := map[string]string{}
	for _, b := range c.Asset.Binaries {
		wanted[strings.TrimPrefix(path.Join(imagespec.BinDir, b.Name), "/")] = b.SHA256
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	slices.Reverse(layers)
	for _, l := range layers {
		if len(wanted) == 0 {
			return nil // lower layers are hidden
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
				v.find("binary %q has SHA-256 %s, but that of archive %q has %s", "/"+name, e.sha256, c.Archive, wanted[name])
			}
			delete(wanted, name)
		}
	}
	for _, name := range sortedKeys(wanted) {
		v.find("binary %q is missing", "/"+name)
	}
	return nil
}

// entry is a path as one layer leaves it.
type entry struct {
	sha256, problem string
	// blocked reports that a parent is not a directory, so that the path's own entry
	// doesn't count.
	blocked bool
}

// maxLayer bounds the unpacked size of a layer.
const maxLayer = 16 << 30

// readLayer reads a whole layer, which checks its digest, and returns its entries
// of the wanted paths. As in a container, the last entry of a path counts.
func readLayer(l v1.Layer, wanted map[string]string) (map[string]entry, error) {
	content, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	limited := io.LimitReader(content, maxLayer)
	r := &layerReader{wanted: wanted, seen: map[string]entry{}, hidden: map[string]entry{}}
	for t := tar.NewReader(limited); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = r.read(h, t)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return nil, err
	}
	for name, e := range r.hidden {
		if _, ok := r.seen[name]; !ok || e.blocked {
			r.seen[name] = e
		}
	}
	return r.seen, nil
}

// layerReader collects what the entries of a layer do to the wanted paths.
type layerReader struct {
	wanted map[string]string
	// seen has the paths' own entries, and hidden those of whiteouts and of parents
	// that are not directories.
	seen, hidden map[string]entry
}

// hide applies an entry to a path and everything below it.
func (r *layerReader) hide(name string, e entry) {
	for p := range r.wanted {
		if p == name || strings.HasPrefix(p, name+"/") {
			r.hidden[p] = e
		}
	}
}

// read reads one entry of the layer.
func (r *layerReader) read(h *tar.Header, content io.Reader) error {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	dir, base := path.Split(name)
	whited, whiteout := strings.CutPrefix(base, ".wh.")
	_, wanted := r.wanted[name]
	switch {
	case base == ".wh..wh..opq":
		r.hide(strings.TrimSuffix(dir, "/"), entry{problem: "a layer above it hides it"})
	case whiteout:
		r.hide(path.Join(dir, whited), entry{problem: "a layer above it deletes it"})
	case !wanted && h.Typeflag != tar.TypeDir:
		r.hide(name, entry{problem: fmt.Sprintf("%q is not a directory", "/"+name), blocked: true})
	case !wanted:
	case h.Typeflag != tar.TypeReg:
		r.seen[name] = entry{problem: "it is not a regular file"}
	default:
		digest := sha256.New()
		if _, err := io.Copy(digest, content); err != nil {
			return err
		}
		e := entry{sha256: hex.EncodeToString(digest.Sum(nil))}
		if h.Mode&0o111 != 0o111 {
			e.problem = fmt.Sprintf("its mode is %#o, so that not everybody may execute it", h.Mode)
		}
		r.seen[name] = e
	}
	return nil
}
