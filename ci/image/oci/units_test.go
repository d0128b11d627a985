package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/version"
	"dagger/gantry/ci/wire"
)

// Options that aren't given have the values that their comments name.
func TestDefaultsOfRegistryOptions(t *testing.T) {
	o, err := RegistryOptions{}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, authn.NewMultiKeychain(), o.Keychain)
	assert.Equal(t, []any{5, time.Second, time.Minute, 4}, []any{o.Tries, o.Wait, o.Timeout, o.Jobs})
	assert.Equal(t, reflect.ValueOf(wire.Sleep).Pointer(), reflect.ValueOf(o.Sleep).Pointer())
	assert.IsType(t, &http.Transport{}, o.Transport)

	own := RegistryOptions{
		Keychain: authn.NewMultiKeychain(), Tries: 1, Wait: 1, Timeout: 1, Jobs: 1, Transport: http.DefaultTransport,
		Sleep: func(context.Context, time.Duration) error { return errBroken },
	}
	o, err = own.withDefaults()
	require.NoError(t, err)
	assert.ErrorIs(t, o.Sleep(t.Context(), 0), errBroken)
	o.Sleep, own.Sleep = nil, nil
	assert.Equal(t, own, o)

	own.RootCAs = []byte("x")
	_, err = own.withDefaults()
	assert.EqualError(t, err, "set either a transport or root certificates, not both")
}

func TestRepositoryOverPlainHTTP(t *testing.T) {
	for plain, scheme := range map[bool]string{false: "https", true: "http"} {
		r, err := NewRepository("registry.example/acme/server", RegistryOptions{PlainHTTP: plain})
		require.NoError(t, err)
		assert.Equal(t, scheme, r.repo.Scheme())
	}
}

func TestRepositoryOfAURL(t *testing.T) {
	for _, address := range []string{"https://ghcr.io/acme/server", "ghcr.io://acme/server"} {
		_, err := NewRepository(address, RegistryOptions{})
		assert.ErrorContains(t, err, "write it like ghcr.io/owner/name, without a tag", address)
	}
}

// noLogin is a keychain that fails.
type noLogin struct{}

func (noLogin) Resolve(authn.Resource) (authn.Authenticator, error) { return nil, errBroken }

// Whatever is asked of a repository, it is not asked as nobody when finding
// credentials failed.
func TestCredentialsThatCannotBeFound(t *testing.T) {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	for name, ask := range map[string]func(*Repository) error{
		"session":  func(r *Repository) error { _, err := r.session(t.Context(), false); return err },
		"read":     func(r *Repository) error { _, err := r.Digest(t.Context(), "1.0.0"); return err },
		"index":    func(r *Repository) error { _, err := r.Index(t.Context(), "1.0.0"); return err },
		"head":     func(r *Repository) error { _, err := r.head(t.Context(), true, "1.0.0"); return err },
		"has":      func(r *Repository) error { _, err := r.has(t.Context(), true, digest); return err },
		"list":     func(r *Repository) error { _, err := r.Tags(t.Context()); return err },
		"push":     func(r *Repository) error { return r.push(t.Context(), empty.Index) },
		"tag":      func(r *Repository) error { return r.tag(t.Context(), "1.0.0", empty.Index) },
		"describe": func(r *Repository) error { return r.describe(t.Context(), true, &found{digest: digest}) },
	} {
		r, err := NewRepository("registry.example/acme/server", RegistryOptions{Keychain: noLogin{}})
		require.NoError(t, err)
		err = ask(r)
		require.ErrorIs(t, err, errBroken, name)
		assert.ErrorContains(t, err, `find credentials for "registry.example/acme/server"`, name)
		assert.Zero(t, r.Stats().Requests)
	}
}

func TestMediaTypesOfManifests(t *testing.T) {
	for mediaType, ok := range map[types.MediaType]bool{
		types.OCIImageIndex: true, types.DockerManifestList: true, types.OCIManifestSchema1: true, types.DockerManifestSchema2: true,
		types.DockerManifestSchema1: true, types.DockerManifestSchema1Signed: true,
		"text/html": false, "": false, types.OCILayer: false, types.OCIConfigJSON: false,
	} {
		err := isManifest(&remote.Descriptor{Descriptor: v1.Descriptor{MediaType: mediaType}})
		if ok {
			assert.NoError(t, err, mediaType)
		} else {
			assert.ErrorContains(t, err, "not a manifest: is there a proxy in between?", mediaType)
		}
	}
}

func TestReferences(t *testing.T) {
	r, err := NewRepository("registry.example/acme/server", RegistryOptions{})
	require.NoError(t, err)
	digest := "sha256:" + strings.Repeat("a", 64)
	assert.Equal(t, "registry.example/acme/server@"+digest, r.reference(digest).Name())
	assert.Equal(t, "registry.example/acme/server:1.0.0", r.reference("1.0.0").Name())
}

// Only images are pushed with an index.
func TestIndexOfOtherThings(t *testing.T) {
	nested := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: empty.Index})
	r, err := NewRepository("registry.example/acme/server", RegistryOptions{})
	require.NoError(t, err)
	require.EqualError(t, r.push(t.Context(), nested), `the index contains a "application/vnd.oci.image.index.v1+json" instead of an image`)
	assert.Zero(t, r.Stats().Requests)
}

// What is to be published is checked before the first request.
func TestPublicationsThatAreRefused(t *testing.T) {
	v := semver.MustParse("1.2.3")
	filled := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: empty.Image})
	of := func(number string) v1.ImageIndex {
		return mutate.Annotations(filled, map[string]string{imagespec.KeyVersion: number}).(v1.ImageIndex)
	}
	for _, c := range []struct {
		p    Publication
		says string
	}{
		{Publication{Version: v, Index: filled}, ""}, // it doesn't say
		{Publication{Version: v, Index: of("1.2.3")}, ""},
		{Publication{Version: v, Index: of("1.2.4")}, `it is of version "1.2.4"`},
		{Publication{Version: v, Index: empty.Index}, "its index is empty"},
		{Publication{Version: v, Index: brokenIndex{}}, "broken"},
		{Publication{Version: semver.MustParse("1.2.3+x"), Index: filled}, "build metadata"},
	} {
		err := c.p.check()
		if c.says == "" {
			assert.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, c.says)
		if c.p.Index != (brokenIndex{}) {
			report, err := Publish(t.Context(), c.p)
			require.ErrorContains(t, err, "publish version ")
			require.ErrorContains(t, err, c.says)
			assert.Nil(t, report)
		}
	}
}

// The floating tags of a version, of which the highest that may have one has it.
func TestHighestOfAFloatingTag(t *testing.T) {
	all := version.TagOptions{}.Versions([]string{"1.0.0", "1.2.0", "1.1.0", "2.0.0-rc.1", "2.0.0-rc.2", "0.9.0"})
	for tag, want := range map[string]string{"latest": "1.2.0", "1": "1.2.0", "1.1": "1.1.0", "rc": "2.0.0-rc.2", "0.9": "0.9.0", "0": "", "2": "", "1.2.0": "", "beta": ""} {
		got := highestOf(tag, all, version.TagOptions{})
		if want == "" {
			assert.Nil(t, got, tag)
		} else if assert.NotNil(t, got, tag) {
			assert.Equal(t, want, got.String(), tag)
		}
	}
	assert.Nil(t, highestOf("latest", nil, version.TagOptions{}))
	assert.False(t, floats(semver.MustParse("1.0.0+x"), "latest", version.TagOptions{}), "it can't have tags")
}

func TestSteps(t *testing.T) {
	for action, writes := range map[Action]bool{
		ActionPush: true, ActionSmoke: false, ActionTag: true, ActionMove: true, ActionKeep: false, ActionStay: false,
	} {
		assert.Equal(t, writes, Step{Action: action}.Writes(), action)
	}
	for want, s := range map[string]Step{
		"smoke-test: why":       {ActionSmoke, "", "", "why"},
		"tag 1.0.0: why":        {ActionTag, "1.0.0", "", "why"},
		"move 1 (was 0.9): why": {ActionMove, "1", "0.9", "why"},
	} {
		assert.Equal(t, want, s.String())
	}
}

func TestConflictsSayWhatToDo(t *testing.T) {
	e := &ConflictError{Repository: "r", Tag: "t", Have: "h", Want: "w"}
	assert.Contains(t, e.Error(), "never rewritten; assemble it on the base images of the published image")
	e.Why = "because"
	assert.Contains(t, e.Error(), "never rewritten; because")
	assert.NotContains(t, e.Error(), "assemble it")
}

// A pause before the next try that is cut short is told, with the failure that it
// was for.
func TestPauseOfAWriteThatEnds(t *testing.T) {
	refused := errors.New("connection refused")
	slept := 0
	r, err := NewRepository("registry.example/acme/server", RegistryOptions{
		Tries:     3,
		Transport: failing{refused},
		Sleep: func(context.Context, time.Duration) error {
			if slept++; slept > 2 { // the transport's own, for the login
				return errBroken
			}
			return nil
		},
	})
	require.NoError(t, err)
	did, err := (&work{r: r}).put(t.Context(), "1", empty.Index, func() (bool, error) { return true, nil })
	assert.False(t, did)
	require.ErrorIs(t, err, errBroken)
	require.ErrorIs(t, err, refused)
}

// failing is a transport that always fails.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// Where the next page of tags is, by the Link header of one.
func TestNextPage(t *testing.T) {
	page := &url.URL{Scheme: "https", Host: "registry.example", Path: "/v2/a/tags/list", RawQuery: "n=1000"}
	for _, c := range []struct{ link, next, says string }{
		{"", "", ""},
		{"<>; rel=next", "", ""},
		{`</v2/a/tags/list?last=b>; rel="next"`, "https://registry.example/v2/a/tags/list?last=b", ""},
		{`<?last=b>`, "https://registry.example/v2/a/tags/list?last=b", ""},
		{`<http://registry.example/x>`, "https://registry.example/x", ""},
		{`<https://other.example/x>`, "", `leads to another host, "other.example"`},
		{`/v2/a/tags/list?last=b`, "", "is not <URL>"},
		{`/v2/a/tags/list?last=b>`, "", "is not <URL>"},
		{`</v2/a/tags/list?last=b`, "", "is not <URL>"},
		{`<%zz>`, "", "the registry's link to more tags: "},
	} {
		next, err := nextPage(c.link, page)
		if c.says != "" {
			assert.ErrorContains(t, err, c.says, c.link)
			assert.Nil(t, next, c.link)
			continue
		}
		require.NoError(t, err, c.link)
		if c.next == "" {
			assert.Nil(t, next, c.link)
		} else if assert.NotNil(t, next, c.link) {
			assert.Equal(t, c.next, next.String())
		}
	}
}

// The one spelling of a registry's name.
func TestHost(t *testing.T) {
	for spelled, host := range map[string]string{
		"ghcr.io": "ghcr.io", "GHCR.io": "ghcr.io", "ghcr.io:443": "ghcr.io", "ghcr.io.": "ghcr.io", "ghcr.io:8443": "ghcr.io:8443",
		"docker.io": "index.docker.io", "index.docker.io": "index.docker.io", "registry-1.docker.io": "index.docker.io",
		"registry.docker.io": "index.docker.io", "registry.hub.docker.com": "index.docker.io", "hub.docker.com": "hub.docker.com",
	} {
		assert.Equal(t, host, Host(spelled), spelled)
	}
	assert.Equal(t, "docker.io", display("index.docker.io"))
	assert.Equal(t, "docker.io", display("registry-1.docker.io"))
	assert.Equal(t, "ghcr.io", display("ghcr.io"))
}

// Keys of Docker's file without what older versions put around them.
func TestBareKeys(t *testing.T) {
	for key, want := range map[string]string{
		"ghcr.io": "ghcr.io", "ghcr.io/": "ghcr.io", "https://ghcr.io": "ghcr.io", "http://ghcr.io/": "ghcr.io", "ghcr.io/acme": "ghcr.io/acme",
		"https://index.docker.io/v1/": "index.docker.io", "https://ghcr.io/v2/": "ghcr.io", "https://ghcr.io/v2": "ghcr.io", "ghcr.io/v3": "ghcr.io/v3",
		"https://ghcr.io/acme/app/": "ghcr.io/acme/app", "ghcr.io/v2/app": "ghcr.io/v2/app",
	} {
		assert.Equal(t, want, bare(key), key)
	}
}

// Which registries a Docker file knows, and who keeps their logins.
func TestLoginsOfADockerFile(t *testing.T) {
	d, err := DockerConfig([]byte(`{
		"auths": {"ghcr.io": {"auth": "YTpi"}, "https://quay.io/acme": {}, "https://index.docker.io/v1/": {}},
		"credHelpers": {"https://gcr.io": "gcloud"},
		"credsStore": "desktop"
	}`))
	require.NoError(t, err)
	assert.Equal(t, "desktop", d.Store())
	for registry, helper := range map[string]string{
		"ghcr.io": "desktop", "GHCR.IO:443": "desktop", "quay.io": "desktop", "docker.io": "desktop", "gcr.io": "gcloud", "example.com": "", "acme": "",
	} {
		assert.Equal(t, helper, d.helper(registry), registry)
		assert.Equal(t, helper != "", d.Has(registry), registry)
		assert.Equal(t, helper == "desktop", d.lists(registry), registry)
	}
	plain, err := DockerConfig([]byte(`{"auths": {"ghcr.io": {"auth": "YTpi"}}}`))
	require.NoError(t, err)
	assert.Empty(t, plain.Store())
	assert.True(t, plain.Has("ghcr.io"))
	assert.False(t, plain.Has("quay.io"))
	assert.Empty(t, plain.helper("ghcr.io"))
}

// The login with the longest path that fits counts; of two spellings of one, the
// first.
func TestLoginOfTheLongestPath(t *testing.T) {
	d, err := DockerConfig([]byte(`{"auths": {
		"ghcr.io": {"username": "first"}, "https://ghcr.io": {"username": "second"}, "ghcr.io/acme": {"password": "only"},
		"ghcr.io/acme/app": {"auth": "Yzpk"}, "ghcr.io/acme/app/more": {}, "quay.io": {"identitytoken": "token"}, "example.com": {"registrytoken": "token"}
	}}`))
	require.NoError(t, err)
	for repository, want := range map[string]authn.AuthConfig{
		"ghcr.io/other":            {Username: "first"},
		"ghcr.io/acmes":            {Username: "first"},
		"ghcr.io/acme":             {Password: "only"},
		"ghcr.io/acme/server":      {Password: "only"},
		"ghcr.io/acme/app":         {Username: "c", Password: "d"},
		"ghcr.io/acme/app/more":    {Username: "c", Password: "d"},
		"ghcr.io/acme/application": {Password: "only"},
		"quay.io/acme":             {IdentityToken: "token"},
		"example.com/acme":         {RegistryToken: "token"},
	} {
		registry, path, _ := strings.Cut(repository, "/")
		got := d.find(registry, path)
		if assert.NotNil(t, got, repository) {
			got.Auth = ""
			assert.Equal(t, want, *got, repository)
		}
	}
	assert.Nil(t, d.find("gcr.io", "acme"))
}

// The images that are base images, of those that an index has.
func TestPinsOfAnIndex(t *testing.T) {
	add := func(index v1.ImageIndex, platform *v1.Platform, base, digest string) v1.ImageIndex {
		img := mutate.Annotations(empty.Image, map[string]string{imagespec.KeyBaseName: base, imagespec.KeyBaseDigest: digest}).(v1.Image)
		return mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	var index v1.ImageIndex = empty.Index
	index = add(index, nil, "no platform", "sha256:1")
	index = add(index, &v1.Platform{OS: "unknown", Architecture: "unknown"}, "an attestation", "sha256:2")
	index = add(index, &v1.Platform{OS: "linux", Architecture: "amd64"}, "base", "sha256:3")
	index = add(index, &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, "other", "sha256:4")
	index = add(index, &v1.Platform{OS: "linux", Architecture: "s390x"}, "", "sha256:5")
	index = add(index, &v1.Platform{OS: "linux", Architecture: "riscv64"}, "no digest", "")
	pins, err := PinsOf(index)
	require.NoError(t, err)
	assert.Equal(t, Pins{"linux/amd64": {"base", "sha256:3"}, "linux/arm64/v8": {"other", "sha256:4"}}, pins)
}

// The image of a platform, of those that an index has.
func TestSelectPlatform(t *testing.T) {
	var index v1.ImageIndex = empty.Index
	for i, platform := range []*v1.Platform{
		nil, {OS: "unknown", Architecture: "unknown"}, {OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}, {OS: "linux", Architecture: "arm64", Variant: "v8"},
	} {
		img := mutate.Annotations(empty.Image, map[string]string{"n": string(rune('0' + i))}).(v1.Image)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: empty.Index, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}})
	for platform, want := range map[string]string{"linux/amd64": "2", "linux/arm64": "3", "linux/arm64/v8": "4", "linux/s390x": "", "unknown/unknown": "", "linux/riscv64": ""} {
		img, err := SelectPlatform(index, platform)
		if want == "" {
			require.ErrorIs(t, err, imagespec.ErrBase, platform)
			assert.ErrorContains(t, err, `it has no platform "`+platform+`", only linux/amd64, linux/arm64, linux/arm64/v8, linux/s390x: set base`)
			continue
		}
		require.NoError(t, err, platform)
		m, err := img.Manifest()
		require.NoError(t, err)
		assert.Equal(t, want, m.Annotations["n"], platform)
	}
	_, err := SelectPlatform(index, "a/b/c/d")
	require.ErrorContains(t, err, "too many slashes")
	_, err = SelectPlatform(brokenIndex{}, "linux/amd64")
	require.ErrorIs(t, err, errBroken)
}

// A base image's repository is opened by the names of its reference.
func TestBasesThatCannotBeOpened(t *testing.T) {
	var asked [][2]string
	bases := BasesFrom(func(registry, repository string) (*Repository, error) {
		asked = append(asked, [2]string{registry, repository})
		return nil, errBroken
	})
	_, err := bases.Base(t.Context(), "alpine:3.22", "linux/amd64")
	require.ErrorIs(t, err, errBroken)
	assert.ErrorContains(t, err, `find base image "alpine:3.22": `)
	_, err = bases.Base(t.Context(), "gcr.io/distroless/static@sha256:"+strings.Repeat("a", 64), "linux/amd64")
	require.ErrorIs(t, err, errBroken)
	assert.Equal(t, [][2]string{{name.DefaultRegistry, "library/alpine"}, {"gcr.io", "distroless/static"}}, asked)
	_, err = bases.Base(t.Context(), "No Name", "linux/amd64")
	require.ErrorContains(t, err, `find base image "No Name": `)
	assert.NotErrorIs(t, err, errBroken)
	_, err = RegistryBases(RegistryOptions{RootCAs: []byte("x")}).Base(t.Context(), "gcr.io/a/b:1", "linux/amd64")
	require.ErrorContains(t, err, `open repository "gcr.io/a/b": `)
}

// odd is an image with another configuration.
type odd struct {
	v1.Image
	config v1.ConfigFile
}

func (o odd) ConfigFile() (*v1.ConfigFile, error) { return &o.config, nil }

// An image is put on the base image of its platform, whatever the index calls it.
func TestBaseOfAnotherPlatform(t *testing.T) {
	for _, c := range []struct {
		config   v1.ConfigFile
		platform string
		says     string
	}{
		{v1.ConfigFile{OS: "linux", Architecture: "amd64"}, "linux/amd64", ""},
		{v1.ConfigFile{OS: "linux", Architecture: "arm"}, "linux/arm/v7", ""}, // its variant is often left out
		{v1.ConfigFile{OS: "linux", Architecture: "arm64"}, "linux/amd64", `"base" is for "linux/arm64", not for "linux/amd64": set base to an image for the platform`},
		{v1.ConfigFile{OS: "windows", Architecture: "amd64"}, "linux/amd64", `"base" is for "windows/amd64"`},
		{v1.ConfigFile{}, "linux/amd64", `not for "linux/amd64"`},
		{v1.ConfigFile{OS: "linux", Architecture: "amd64"}, "a/b/c/d", "too many slashes"},
	} {
		img, err := onBase(Base{Name: "base", Image: odd{empty.Image, c.config}}, c.platform)
		if c.says == "" {
			require.NoError(t, err)
			assert.NotNil(t, img)
			continue
		}
		require.ErrorContains(t, err, c.says)
		assert.Equal(t, c.platform != "a/b/c/d", errors.Is(err, imagespec.ErrBase))
	}
}

// The variables of a base keep their order, and those that are added are sorted.
func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		base []string
		add  map[string]string
		want []string
	}{
		{nil, nil, []string{defaultPath}},
		{[]string{"B=1", "PATH=/bin", "A=1"}, nil, []string{"B=1", "PATH=/bin", "A=1"}},
		{[]string{"B=1", "PATHS=/bin"}, map[string]string{"C": "3", "A": "2", "B": "4"}, []string{"B=4", "PATHS=/bin", defaultPath, "A=2", "C=3"}},
		{[]string{"PATH=/bin"}, map[string]string{"PATH": "/opt"}, []string{"PATH=/opt"}},
	} {
		base := append([]string(nil), c.base...)
		assert.Equal(t, c.want, environment(base, c.add))
		assert.Equal(t, append([]string(nil), c.base...), base, "the base's own stays")
	}
}

// A layer whose writer fails, wherever, is not made.
func TestLayerOnAFullDisk(t *testing.T) {
	text := []byte("content")
	sum := "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
	copyTo := func(w io.Writer) (copied, closed error) {
		l := &layerWriter{t: tar.NewWriter(w), date: time.Unix(0, 0), dirs: map[string]bool{}}
		file := archive.File{Path: "x/a", Size: int64(len(text))}
		return l.copy(file, bytes.NewReader(text), []imagespec.Item{{Dest: "/a/b/c", SHA256: sum, Mode: 0o755}, {Dest: "/a/d", SHA256: sum, Mode: 0o755}, {Dest: "/e/f", SHA256: sum, Mode: 0o755}}), l.t.Close()
	}
	const trailer = 3
	writes, inCopy := 0, 0
	copied, closed := copyTo(counted(func() error { writes++; return nil }))
	require.NoError(t, errors.Join(copied, closed))
	for fails := 1; fails <= writes; fails++ {
		n := 0
		copied, closed := copyTo(counted(func() error {
			if n++; n >= fails {
				return errBroken
			}
			return nil
		}))
		require.ErrorIs(t, errors.Join(copied, closed), errBroken, "write %d", fails)
		if copied != nil {
			inCopy++
		}
	}
	assert.Equal(t, writes-trailer, inCopy, "all but the end of the archive")
	full := counted(func() error { return errBroken })
	l := &layerWriter{t: tar.NewWriter(full), dirs: map[string]bool{}}
	require.ErrorIs(t, l.parents("/a/b"), errBroken)
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o644))
	require.ErrorIs(t, addFile(tar.NewWriter(full), empty, "empty"), errBroken)
}

// counted is a writer that is told of every write.
type counted func() error

func (c counted) Write(p []byte) (int, error) {
	if err := c(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// What a layer can't be made of, or where, is told, and leaves nothing behind.
func TestLayersThatCannotBeMade(t *testing.T) {
	source, err := os.Create(filepath.Join(t.TempDir(), "x.tar.gz"))
	require.NoError(t, err)
	defer source.Close()
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errBroken)
	good := manifest.Asset{Name: "x.tar.gz", Files: []manifest.File{{Path: "x/a", Mode: "0644"}}}
	for _, c := range []struct {
		name    string
		ctx     context.Context
		asset   manifest.Asset
		include map[string]string
		dir     string
		says    string
	}{
		{"an include that isn't there", t.Context(), good, map[string]string{"b": "/b"}, t.TempDir(), `include "b" is not in archive`},
		{"no archive", t.Context(), manifest.Asset{Name: "x.exe"}, nil, t.TempDir(), "x.exe"},
		{"no directory", t.Context(), good, nil, filepath.Join(t.TempDir(), "none"), "no such file or directory"},
		{"an empty archive", t.Context(), good, nil, t.TempDir(), `unpack archive "x.tar.gz": `},
	} {
		l, err := makeLayer(c.ctx, source, c.asset, c.include, time.Unix(0, 0), c.dir)
		require.ErrorContains(t, err, c.says, c.name)
		assert.Nil(t, l)
		left, _ := os.ReadDir(c.dir)
		assert.Empty(t, left, c.name)
	}
	_, err = (&ctxReader{ended, strings.NewReader("x")}).Read(make([]byte, 1))
	assert.ErrorIs(t, err, errBroken)
	_, err = (&ctxReader{t.Context(), strings.NewReader("x")}).Read(make([]byte, 1))
	assert.NoError(t, err)
}

// A release that can't be assembled at all is refused before anything is made.
func TestReleasesThatAreRefused(t *testing.T) {
	none := &published.Release{Manifest: &manifest.Manifest{Version: "1.2.3"}}
	_, err := Assemble(t.Context(), none, AssembleOptions{Dir: t.TempDir()})
	require.ErrorIs(t, err, imagespec.ErrSpec)
	r, err := NewRepository("registry.example/acme/server", RegistryOptions{Transport: failing{errBroken}, Tries: 1})
	require.NoError(t, err)
	verified, err := VerifyImage(t.Context(), none.Manifest, r, VerifyOptions{})
	require.ErrorIs(t, err, imagespec.ErrSpec)
	assert.Nil(t, verified)
	bad := Candidate{Release: &published.Release{Manifest: &manifest.Manifest{Version: "1.2"}}, Repositories: []*Repository{r}}
	_, err = VerifyImage(t.Context(), bad.Manifest, r, VerifyOptions{})
	require.ErrorContains(t, err, "1.2")
	assert.NotErrorIs(t, err, imagespec.ErrSpec, "the version is looked at first")
	_, _, err = bad.tags(nil)
	require.ErrorContains(t, err, "1.2")
	_, err = r.lack(t.Context(), bad, nil)
	require.ErrorContains(t, err, "1.2")
	_, _, err = Candidate{Release: &published.Release{Manifest: &manifest.Manifest{Version: "1.2.3+x"}}}.tags(nil)
	require.ErrorContains(t, err, "build metadata")
}

// content is a layer of any bytes.
type content struct {
	v1.Layer
	text io.Reader
}

func (c content) Uncompressed() (io.ReadCloser, error) { return io.NopCloser(c.text), nil }

// What one layer makes of a path.
func TestReadLayer(t *testing.T) {
	const path = "usr/local/bin/server"
	link := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: "/x"}
	}
	file := func(name string, mode int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: 1}
	}
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	x := "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	good := map[string]entry{path: {sha256: x}}
	deleted, hidden := map[string]entry{path: {problem: "a layer above it deletes it"}}, map[string]entry{path: {problem: "a layer above it hides it"}}
	below := func(name string) map[string]entry {
		return map[string]entry{path: {problem: `"/` + name + `" is not a directory`, blocked: true}}
	}
	for _, c := range []struct {
		name    string
		headers []tar.Header
		want    map[string]entry
	}{
		{"nothing", nil, map[string]entry{}},
		{"the file", []tar.Header{dir("usr/"), dir("usr/local/bin"), file(path, 0o755)}, good},
		{"written otherwise", []tar.Header{file("./"+path, 0o755)}, good},
		{"with a slash", []tar.Header{file("/"+path, 0o755)}, good},
		{"others", []tar.Header{file("usr/local/bin/serve", 0o755), file("usr/local/bin/server2", 0o755), file("server", 0o755)}, map[string]entry{}},
		{"not for everybody", []tar.Header{file(path, 0o754)}, map[string]entry{path: {sha256: x, problem: "its mode is 0754, so that not everybody may execute it"}}},
		{"with more rights", []tar.Header{file(path, 0o4755)}, good},
		{"a link", []tar.Header{link(path)}, map[string]entry{path: {problem: "it is not a regular file"}}},
		{"a directory", []tar.Header{dir(path)}, map[string]entry{path: {problem: "it is not a regular file"}}},
		{"a link, then the file", []tar.Header{link(path), file(path, 0o755)}, good},
		{"deleted", []tar.Header{file("usr/local/bin/.wh.server", 0)}, deleted},
		{"a directory deleted", []tar.Header{file("usr/.wh.local", 0)}, deleted},
		{"another deleted", []tar.Header{file("usr/local/bin/.wh.serve", 0), file("usr/local/.wh.bi", 0)}, map[string]entry{}},
		{"hidden", []tar.Header{file("usr/.wh..wh..opq", 0)}, hidden},
		{"another hidden", []tar.Header{file("usr/share/.wh..wh..opq", 0)}, map[string]entry{}},
		{"deleted and put back", []tar.Header{file("usr/local/bin/.wh.server", 0), file(path, 0o755)}, good},
		{"put there and deleted, which is of those below", []tar.Header{file(path, 0o755), file("usr/local/bin/.wh.server", 0)}, good},
		{"a link for a directory", []tar.Header{link("usr/local")}, below("usr/local")},
		{"a file for a directory", []tar.Header{file("usr", 0o755)}, below("usr")},
		{"the file below a link", []tar.Header{link("usr/local"), file(path, 0o755)}, below("usr/local")},
		{"a link above the file", []tar.Header{file(path, 0o755), link("usr/local")}, below("usr/local")},
		{"a link for another directory", []tar.Header{link("usr/loc"), link("usr/local/b")}, map[string]entry{}},
	} {
		var text bytes.Buffer
		w := tar.NewWriter(&text)
		for _, h := range c.headers {
			require.NoError(t, w.WriteHeader(&h))
			if h.Size > 0 {
				_, err := w.Write([]byte("x"))
				require.NoError(t, err)
			}
		}
		require.NoError(t, w.Close())
		whole := text.Bytes()
		got, err := readLayer(content{text: bytes.NewReader(whole)}, map[string]string{path: x})
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, got, c.name)
		// To the end, which is where its digest is checked.
		for _, n := range []int{0, 1, 512, 513, len(whole)} {
			if n > len(whole) {
				continue
			}
			_, err = readLayer(content{text: io.MultiReader(bytes.NewReader(whole[:n]), errorReader{errBroken})}, map[string]string{path: x})
			require.ErrorIs(t, err, errBroken, "%s, at %d", c.name, n)
		}
	}
	_, err := readLayer(content{text: strings.NewReader(strings.Repeat("x", 1024))}, nil)
	require.ErrorIs(t, err, tar.ErrHeader)
}

// What a comparison could not find out is told from what is wrong with the image.
func TestWhatIsUnknown(t *testing.T) {
	refused := func(status int, codes ...transport.ErrorCode) error {
		e := &transport.Error{StatusCode: status}
		for _, code := range codes {
			e.Errors = append(e.Errors, transport.Diagnostic{Code: code})
		}
		return fmt.Errorf("read: %w", e)
	}
	for _, c := range []struct {
		err   error
		known bool
	}{
		{nil, false},
		{&unknownError{errBroken}, false},
		{wire.Broken(t.Context(), errBroken), false},
		{io.ErrUnexpectedEOF, false},
		{context.Canceled, false},
		{context.DeadlineExceeded, false},
		{&net.OpError{Op: "dial", Err: errBroken}, false},
		{refused(500), false},
		{refused(404), false}, // a proxy's
		{refused(404, transport.UnauthorizedErrorCode), false},
		{refused(404, transport.DeniedErrorCode), false},
		{refused(403, transport.BlobUnknownErrorCode), false},
		{refused(404, transport.BlobUnknownErrorCode), true},
		{refused(404, transport.DeniedErrorCode, transport.ManifestUnknownErrorCode), true},
		{errBroken, true},
		{gzip.ErrChecksum, true},
	} {
		v := &verifier{result: &Verification{}, platform: "linux/arm64"}
		err := v.unlessKnown(c.err)
		if c.known {
			assert.NoError(t, err)
			assert.Equal(t, []Finding{{"linux/arm64", fmt.Sprintf("it is damaged: %v", c.err)}}, v.result.Findings)
			continue
		}
		assert.Equal(t, c.err, err)
		assert.Empty(t, v.result.Findings)
	}
	assert.Equal(t, errBroken, errors.Unwrap(&unknownError{errBroken}))
}

// An image is read again when the connection broke meanwhile, and what was found
// before it broke counts once.
func TestImagesThatAreReadAgain(t *testing.T) {
	broken := wire.Broken(t.Context(), errBroken)
	for _, c := range []struct {
		name   string
		errs   []error
		reads  int
		pauses int
		ends   error
	}{
		{"at once", []error{nil}, 1, 0, nil},
		{"once more", []error{broken, nil}, 2, 1, nil},
		{"too often", []error{broken, broken, broken, nil}, 3, 2, broken},
		{"a refusal, which the transport repeats", []error{&transport.Error{StatusCode: 503}, nil}, 1, 0, &transport.Error{StatusCode: 503}},
		{"for good", []error{errBroken, nil}, 1, 0, errBroken},
	} {
		reads, pauses := 0, 0
		first := Finding{"", "before"}
		v := &verifier{result: &Verification{Findings: []Finding{first}, Bases: []BaseState{{Platform: "before"}}}, o: RegistryOptions{Tries: 3, Sleep: func(context.Context, time.Duration) error {
			pauses++
			return nil
		}}}
		err := v.again(t.Context(), func() error {
			v.find("found")
			v.result.Bases = append(v.result.Bases, BaseState{Platform: "found"})
			reads++
			return c.errs[reads-1]
		})
		assert.Equal(t, c.ends, err, c.name)
		assert.Equal(t, []int{c.reads, c.pauses}, []int{reads, pauses}, c.name)
		assert.Equal(t, []Finding{first, {"", "found"}}, v.result.Findings, c.name)
		assert.Len(t, v.result.Bases, 2, c.name)
	}
	v := &verifier{result: &Verification{}, o: RegistryOptions{Tries: 3, Sleep: func(context.Context, time.Duration) error { return errBroken }}}
	err := v.again(t.Context(), func() error { return io.ErrUnexpectedEOF })
	require.ErrorIs(t, err, errBroken)
}

// What a container is run with is compared field by field.
func TestHowAnImageIsRun(t *testing.T) {
	spec := manifest.Image{Env: map[string]string{"A": "1", "B": "2"}, Expose: []string{"80", "53/udp"}, Labels: map[string]string{"x": "1", "y": ""}}
	good := func() v1.Config {
		return v1.Config{WorkingDir: "/", Env: []string{"B=2", "PATH=/bin", "A=1"}, ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}, "1/tcp": {}}, Labels: map[string]string{"x": "1", "y": "", "z": "3"}}
	}
	for _, c := range []struct {
		change func(*v1.Config)
		says   string
	}{
		{func(*v1.Config) {}, ""},
		{func(c *v1.Config) { c.WorkingDir = "" }, `the working directory is "", not "/"`},
		{func(c *v1.Config) { c.WorkingDir = "/x" }, `the working directory is "/x", not "/"`},
		{func(c *v1.Config) { c.Env[2] = "A=2" }, `the environment lacks "A=1"`},
		{func(c *v1.Config) { c.Env = c.Env[1:] }, `the environment lacks "B=2"`},
		{func(c *v1.Config) { delete(c.ExposedPorts, "80/tcp") }, `the port "80/tcp" is not exposed`},
		{func(c *v1.Config) { delete(c.ExposedPorts, "53/udp") }, `the port "53/udp" is not exposed`},
		{func(c *v1.Config) { c.Labels["x"] = "2" }, `the label "x" is "2", not "1"`},
		{func(c *v1.Config) { delete(c.Labels, "y") }, `the label "y" is "", not ""`},
	} {
		have := good()
		c.change(&have)
		v := &verifier{result: &Verification{}}
		v.runs(have, spec)
		if c.says == "" {
			assert.Empty(t, v.result.Findings)
			continue
		}
		assert.Equal(t, []Finding{{"", c.says}}, v.result.Findings)
	}
	v := &verifier{result: &Verification{}}
	v.runs(v1.Config{WorkingDir: "/work"}, manifest.Image{Workdir: "/work"})
	assert.Empty(t, v.result.Findings)
}

// Layers that can't be removed are told.
func TestCloseThatFails(t *testing.T) {
	assert.Error(t, (&Image{dir: t.TempDir() + "/."}).Close())
}

// heads is a registry that answers each HEAD with one digest, or with nothing, and
// no GET.
type heads struct{ digest string }

func (h heads) RoundTrip(req *http.Request) (*http.Response, error) {
	res := &http.Response{StatusCode: 200, Header: http.Header{}, Request: req, Body: http.NoBody}
	switch {
	case req.URL.Path == "/v2/":
	case h.digest == "":
		res.StatusCode, res.Body = 404, io.NopCloser(strings.NewReader(`{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`))
	case req.Method == http.MethodHead:
		res.Header.Set("Docker-Content-Digest", h.digest)
		res.Header.Set("Content-Type", string(types.OCIImageIndex))
		res.ContentLength = 2
	default:
		return nil, errBroken
	}
	return res, nil
}

// Whatever ends with an error claims nothing besides: no tag is repaired, ours, or
// with a higher version.
func TestErrorsClaimNothing(t *testing.T) {
	ours, others := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}, v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("b", 64)}
	v := semver.MustParse("1.2.3")
	for _, c := range []struct {
		name string
		over http.RoundTripper
		do   func(*work) (bool, error)
		says string
	}{
		{"compare what can't be read", failing{errBroken}, func(w *work) (bool, error) { return w.isHigher(t.Context(), &found{digest: others}, "latest") }, "broken"},
		{"compare another image of the version", nil, func(w *work) (bool, error) {
			return w.isHigher(t.Context(), &found{digest: others, described: true, annotations: map[string]string{imagespec.KeyVersion: "1.2.3"}}, "latest")
		}, "another run published it in the meantime"},
		{"keep what can't be read", failing{errBroken}, func(w *work) (bool, error) { return w.keep(t.Context(), "latest") }, "broken"},
		{"keep what can't be compared", heads{others.String()}, func(w *work) (bool, error) { return w.keep(t.Context(), "latest") }, "broken"},
		{"keep what isn't there", heads{}, func(w *work) (bool, error) { return w.keep(t.Context(), "latest") }, "does not serve it"},
		{"keep what stays", heads{others.String()}, func(w *work) (bool, error) {
			w.before["latest"] = &found{digest: others}
			return w.keep(t.Context(), "latest")
		}, "it still names sha256:bbb"},
		{"own what can't be read", failing{errBroken}, func(w *work) (bool, error) { return w.own(t.Context()) }, "broken"},
		{"own what is another's", heads{others.String()}, func(w *work) (bool, error) { return w.own(t.Context()) }, "another run published it in the meantime"},
		{"yield to what can't be read", failing{errBroken}, func(w *work) (bool, error) { return w.yield(t.Context(), "latest", v) }, "broken"},
		{"survey what can't be read", failing{errBroken}, func(w *work) (bool, error) {
			return w.r.hasFloating(t.Context(), "latest", v, ours, []string{"latest"}, w.options)
		}, "broken"},
		{"survey what can't be compared", heads{others.String()}, func(w *work) (bool, error) {
			return w.r.hasFloating(t.Context(), "latest", v, ours, []string{"latest"}, w.options)
		}, "broken"},
	} {
		r, err := NewRepository("registry.example/acme/server", RegistryOptions{Transport: c.over, Tries: 1})
		require.NoError(t, err)
		w := &work{Publication: Publication{Version: v}, r: r, digest: ours, report: &RepositoryReport{}, exact: "1.2.3", before: map[string]*found{}}
		claimed, err := c.do(w)
		require.ErrorContains(t, err, c.says, c.name)
		assert.False(t, claimed, c.name)
		assert.Empty(t, w.report.Done, c.name)
	}
}

// Files of a layout that can't be read end what they are read for.
func TestFilesThatCannotBeRead(t *testing.T) {
	for _, file := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		_, err := hashFile(file)
		require.Error(t, err, file)
		require.Error(t, addFile(tar.NewWriter(io.Discard), file, "file"), file)
	}
}

// fixed is the one base image there is, or an error.
type fixedBase struct{ digests map[string]string }

func (f fixedBase) Base(_ context.Context, ref, _ string) (Base, error) {
	digest, ok := f.digests[ref]
	if !ok {
		return Base{}, errBroken
	}
	return Base{Digest: v1.Hash{Algorithm: "sha256", Hex: digest}}, nil
}

// The base image of an image, by what it says, what the release names, and what
// that means now.
func TestBaseThatIsCompared(t *testing.T) {
	for _, c := range []struct {
		name         string
		base         string // that the release names; empty is the default
		said, digest string // of the image
		now          map[string]string
		offline      bool
		current      bool
		state        string // or empty when there is none
		finding      string
		fails        string
	}{
		{name: "none, and none named", base: imagespec.Scratch},
		{name: "a name, and none named", base: imagespec.Scratch, said: "base:1", finding: `the base image is "base:1", but the release has none`},
		{name: "a digest, and none named", base: imagespec.Scratch, digest: "sha256:a", finding: `the base image is "", but the release has none`},
		{name: "no name", base: "base:1", digest: "sha256:a", finding: "its annotations do not name the base image"},
		{name: "no digest", base: "base:1", said: "base:1", finding: "its annotations do not name the base image"},
		{name: "as named", base: "base:1", said: "base:1", digest: "sha256:a", now: map[string]string{"base:1": "a"}, state: "linux/amd64: base base:1@sha256:a, which the tag still names"},
		{name: "moved", base: "base:1", said: "base:1", digest: "sha256:a", now: map[string]string{"base:1": "b"}, state: "linux/amd64: base base:1@sha256:a, but the tag now names sha256:b"},
		{name: "unknown", base: "base:1", said: "base:1", digest: "sha256:a", state: "linux/amd64: base base:1@sha256:a, and it is unknown what the tag now names: broken"},
		{name: "offline", base: "base:1", said: "base:1", digest: "sha256:a", offline: true, state: "linux/amd64: base base:1@sha256:a, and it is unknown what the tag now names: it was not read"},
		{name: "another", base: "base:1", said: "base:2", digest: "sha256:a", now: map[string]string{"base:2": "a"},
			state: "linux/amd64: base base:2@sha256:a, which the tag still names", finding: `the base image is "base:2", but the release names "base:1"`},
		{name: "another than the default, which may change", said: "base:2", digest: "sha256:a", now: map[string]string{"base:2": "a"}, state: "linux/amd64: base base:2@sha256:a, which the tag still names"},
		{name: "current", base: "base:1", current: true, said: "base:1", digest: "sha256:a", now: map[string]string{"base:1": "a"}, state: "linux/amd64: base base:1@sha256:a, which the tag still names"},
		{name: "not current", base: "base:1", current: true, said: "base:1", digest: "sha256:a", now: map[string]string{"base:1": "b"},
			state: "linux/amd64: base base:1@sha256:a, but the tag now names sha256:b", finding: `the base image "base:1" was sha256:a and is now sha256:b: release a new version to use it`},
		{name: "current or not", base: "base:1", current: true, said: "base:1", digest: "sha256:a",
			state: "linux/amd64: base base:1@sha256:a, and it is unknown what the tag now names: broken", fails: `what the base image "base:1" names now is unknown: broken`},
		{name: "of a digest", base: "base:1@sha256:a", said: "base:1", digest: "sha256:a", offline: true, state: "linux/amd64: base base:1@sha256:a, and it is unknown what the tag now names: it was not read"},
		{name: "of an index's digest", base: "base:1@sha256:i", said: "base:1", digest: "sha256:a", now: map[string]string{"base:1": "a", "base:1@sha256:i": "a"}, state: "linux/amd64: base base:1@sha256:a, which the tag still names"},
		{name: "of another digest", base: "base:1@sha256:i", said: "base:1", digest: "sha256:a", now: map[string]string{"base:1": "a", "base:1@sha256:i": "b"}, state: "linux/amd64: base base:1@sha256:a, which the tag still names",
			finding: `the base image is "base:1@sha256:a", but the release names "base:1@sha256:i", which is sha256:b on the platform`},
		{name: "of a digest that can't be read", base: "base:1@sha256:i", said: "base:1", digest: "sha256:a", now: map[string]string{"base:1": "a"}, state: "linux/amd64: base base:1@sha256:a, which the tag still names", fails: "broken"},
		{name: "of a digest, offline", base: "base:1@sha256:i", said: "base:1", digest: "sha256:a", offline: true, state: "linux/amd64: base base:1@sha256:a, and it is unknown what the tag now names: it was not read",
			fails: `the release names the base image "base:1@sha256:i", whose image of linux/amd64 is unknown`},
		{name: "another of a digest", base: "base:1@sha256:i", said: "base:2", digest: "sha256:a", now: map[string]string{"base:2": "a"}, state: "linux/amd64: base base:2@sha256:a, which the tag still names",
			finding: `the base image is "base:2", but the release names "base:1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := &verifier{m: &manifest.Manifest{Image: &manifest.Image{Base: c.base}}, options: VerifyOptions{Bases: fixedBase{c.now}, CurrentBase: c.current}, result: &Verification{}}
			if c.offline {
				v.options.Bases = nil
			}
			choice := imagespec.Choice{Platform: "linux/amd64", Base: c.base}
			if c.base == "" {
				choice.Base = "base:1"
			}
			err := v.base(t.Context(), map[string]string{imagespec.KeyBaseName: c.said, imagespec.KeyBaseDigest: c.digest}, choice)
			if c.fails == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, c.fails)
			}
			var states, findings []string
			for _, s := range v.result.Bases {
				states = append(states, s.String())
			}
			for _, f := range v.result.Findings {
				findings = append(findings, f.String())
			}
			assert.Equal(t, c.state, strings.Join(states, "; "))
			assert.Equal(t, c.finding, strings.Join(findings, "; "))
		})
	}
	v := &verifier{m: &manifest.Manifest{}, result: &Verification{}}
	require.NoError(t, v.base(t.Context(), map[string]string{imagespec.KeyBaseName: "base:2", imagespec.KeyBaseDigest: "sha256:a"}, imagespec.Choice{Base: "base:1"}))
	assert.Empty(t, v.result.Findings, "without image settings, the default may change")
}

// A binary that can't be read to its end has no digest.
func TestBinaryThatBreaksOff(t *testing.T) {
	r := &layerReader{wanted: map[string]string{"a": ""}, seen: map[string]entry{}, hidden: map[string]entry{}}
	require.ErrorIs(t, r.read(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o755}, errorReader{errBroken}), errBroken)
	assert.Empty(t, r.seen)
}

// A client without a login sends a colon, which is in every answer.
func TestNoCredentialsAreNotRemoved(t *testing.T) {
	req, err := http.NewRequest(http.MethodGet, "https://registry.example.com/v2/", nil)
	require.NoError(t, err)
	for _, header := range []string{"", "Basic", "Basic :", "Basic Og=="} {
		req.Header.Set("Authorization", header)
		res := &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"errors":[{"code":"NAME_UNKNOWN"}]}`))}
		require.NoError(t, redact(req, res))
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		assert.Equal(t, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, string(text), header)
	}
}
