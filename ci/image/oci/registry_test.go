package oci_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/imagespec"
)

// answer spoils requests whose path has the part given.
func answer(part string, status int, body string) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

func TestUnknownIsNotAbsent(t *testing.T) {
	code := func(c string) string { return fmt.Sprintf(`{"errors":[{"code":%q,"message":"…"}]}`, c) }
	cases := []struct {
		status int
		body   string
		absent bool
	}{
		{404, code("MANIFEST_UNKNOWN"), true},
		{404, code("NAME_UNKNOWN"), true},
		{404, code("NOT_FOUND"), true},
		{404, "<html>404</html>", false},
		{404, "", false},
		{404, code("UNAUTHORIZED"), false},
		{400, code("MANIFEST_UNKNOWN"), false},
		{401, code("UNAUTHORIZED"), false},
		{403, code("DENIED"), false},
		{403, code("MANIFEST_UNKNOWN"), false},
		{429, code("TOOMANYREQUESTS"), false},
		{500, code("UNKNOWN"), false},
		{503, "", false},
	}
	image := newRelease(t, "1.2.3", both...).assemble()
	for _, c := range cases {
		t.Run(fmt.Sprint(c.status, c.body), func(t *testing.T) {
			p := newPeer(t)
			p.set(answer("/manifests/", c.status, c.body))
			_, err := p.repository(t, fast).Digest(t.Context(), "1.2.3")
			require.Error(t, err)
			assert.Equal(t, c.absent, isNotFound(err), "%v", err)
			p.set(answer("/tags/list", c.status, c.body))
			_, err = p.repository(t, fast).Tags(t.Context())
			assert.Equal(t, c.absent, err == nil, "%v", err)

			// Whoever doesn't know, writes nothing.
			if !c.absent {
				wrote := false
				p.set(func(n int, w http.ResponseWriter, r *http.Request) bool {
					wrote = wrote || r.Method != http.MethodGet && r.Method != http.MethodHead
					return answer("/manifests/1.2.3", c.status, c.body)(n, w, r)
				})
				_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), p.repository(t, fast))
				require.Error(t, err)
				assert.False(t, wrote)
			}
		})
	}
}

func TestTagsOfAllPages(t *testing.T) {
	var all []string
	for i := range 250 {
		all = append(all, fmt.Sprintf("1.%03d.0", i))
	}
	p := newPeer(t)
	p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		from := 0
		if last := r.URL.Query().Get("last"); last != "" {
			_, _ = fmt.Sscanf(last, "1.%d.0", &from)
			from++
		}
		page := all[from:min(from+100, len(all))]
		if from+100 < len(all) {
			w.Header().Set("Link", fmt.Sprintf(`<%s?n=100&last=%s>; rel="next"`, r.URL.Path, page[len(page)-1]))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "acme/server", "tags": page})
		return true
	})
	tags, err := p.repository(t, fast).Tags(t.Context())
	require.NoError(t, err)
	assert.Equal(t, all, tags)
}

func TestRetries(t *testing.T) {
	ok := `{"name":"acme/server","tags":["1.2.3"]}`
	cases := []struct {
		name    string
		answers []func(http.ResponseWriter)
		fails   string
		waited  time.Duration
		tries   int32
	}{
		{"503 twice", []func(http.ResponseWriter){status(503), status(503), text(ok)}, "", 0, 3},
		{"a reset", []func(http.ResponseWriter){hangUp, text(ok)}, "", 0, 2},
		{"429 with a time", []func(http.ResponseWriter){func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
		}, text(ok)}, "", 7 * time.Second, 2},
		{"429 with too long a time", []func(http.ResponseWriter){func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		}}, "429", 0, 1},
		{"403", []func(http.ResponseWriter){status(403)}, "check that the credentials", 0, 1},
		{"401", []func(http.ResponseWriter){status(401)}, "check the credentials", 0, 1},
		{"for ever", []func(http.ResponseWriter){status(500), status(500), status(500), status(500)}, "500", 0, 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			var tries atomic.Int32
			p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/tags/list") {
					return false
				}
				c.answers[tries.Add(1)-1](w)
				return true
			})
			longest := time.Duration(0)
			o := fast
			o.Sleep = func(_ context.Context, d time.Duration) error {
				longest = max(longest, d)
				return nil
			}
			tags, err := p.repository(t, o).Tags(t.Context())
			assert.Equal(t, c.tries, tries.Load())
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, []string{"1.2.3"}, tags)
			assert.GreaterOrEqual(t, longest, c.waited)
		})
	}
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

func text(s string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { _, _ = io.WriteString(w, s) }
}

// hangUp ends a connection without an answer.
func hangUp(http.ResponseWriter) { panic(http.ErrAbortHandler) }

func TestStall(t *testing.T) {
	p := newPeer(t)
	p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		<-r.Context().Done()
		return true
	})
	o := fast
	o.Timeout, o.Tries = 50*time.Millisecond, 2
	started := time.Now()
	_, err := p.repository(t, o).Tags(t.Context())
	require.ErrorContains(t, err, "no progress")
	assert.Less(t, time.Since(started), 3*time.Second)
}

// guarded is a registry that asks for a token, or for a password.
func guarded(t *testing.T, bearer bool) (*httptest.Server, *[]string) {
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	scopes := &[]string{}
	var s *httptest.Server
	s = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			*scopes = append(*scopes, r.URL.Query()["scope"]...)
			_, _ = io.WriteString(w, `{"token":"good"}`)
			return
		}
		user, password, _ := r.BasicAuth()
		if r.Header.Get("Authorization") != "Bearer good" && (bearer || user != "me" || password != "secret") {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			if bearer {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="x"`, s.URL))
			}
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return s, scopes
}

func TestCredentialsAndCertificates(t *testing.T) {
	image := newRelease(t, "1.2.3", both...).assemble()
	for _, bearer := range []bool{false, true} {
		t.Run(fmt.Sprint("bearer ", bearer), func(t *testing.T) {
			s, scopes := guarded(t, bearer)
			host := strings.TrimPrefix(s.URL, "https://")
			file := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("me:secret")))
			fromFile, err := oci.DockerConfig([]byte(file))
			require.NoError(t, err)
			login, err := oci.Login(host, "me", "secret")
			require.NoError(t, err)
			wrong, err := oci.Login(host, "me", "wrong")
			require.NoError(t, err)
			elsewhere, err := oci.Login("ghcr.io", "me", "secret")
			require.NoError(t, err)
			roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
			for _, c := range []struct {
				name  string
				keys  authn.Keychain
				roots []byte
				fails bool
			}{
				{"login", login, roots, false},
				{"file", fromFile, roots, false},
				{"one of several", authn.NewMultiKeychain(elsewhere, fromFile), roots, false},
				{"wrong password", wrong, roots, true},
				{"of another registry", elsewhere, roots, true},
				{"nobody", nil, roots, true},
				{"unknown certificate", login, nil, true},
			} {
				o := fast
				o.Keychain, o.RootCAs = c.keys, c.roots
				r, err := oci.NewRepository(host+"/acme/server", o)
				require.NoError(t, err)
				_, err = oci.Publish(t.Context(), publication(image, "1.2.3"), r)
				assert.Equal(t, c.fails, err != nil, "%s: %v", c.name, err)
				if err != nil {
					assert.NotContains(t, err.Error(), "secret")
				}
			}
			if bearer {
				assert.Contains(t, *scopes, "repository:acme/server:push,pull", "also for reading")
			}
		})
	}
}

func TestDockerConfig(t *testing.T) {
	hub, err := oci.DockerConfig([]byte(`{"auths":{"https://index.docker.io/v1/":{"username":"me","password":"secret"},"ghcr.io":{"auth":"YTpi"},"example.com/team":{"auth":"Yzpk"}}}`))
	require.NoError(t, err)
	for address, user := range map[string]string{"docker.io/acme/server": "me", "ghcr.io/acme/server": "a", "quay.io/acme/server": "", "example.com/team": "c"} {
		auth, err := authn.Resolve(t.Context(), hub, must(name.NewRepository(address)))
		require.NoError(t, err)
		assert.Equal(t, user, must(authn.Authorization(t.Context(), auth)).Username, address)
	}
	for address, file := range map[string]string{
		`"ghcr.io" in the credential helper "desktop"`:   `{"auths":{"ghcr.io":{}},"credsStore":"desktop"}`,
		`"ghcr.io" in the credential helper "github"`:    `{"auths":{"quay.io":{"auth":"YTpi"}},"credHelpers":{"https://ghcr.io":"github"},"credsStore":"desktop"}`,
		`"docker.io" in the credential helper "desktop"`: `{"auths":{"https://index.docker.io/v1/":{}},"credsStore":"desktop"}`,
	} {
		kept, err := oci.DockerConfig([]byte(file))
		require.NoError(t, err)
		registry := strings.Split(address, `"`)[1]
		_, err = authn.Resolve(t.Context(), kept, must(name.NewRepository(registry+"/acme/server")))
		var helper *oci.HelperError
		require.ErrorAs(t, err, &helper)
		assert.Equal(t, registry, helper.Registry)
		require.ErrorContains(t, err, address)
		auth, err := authn.Resolve(t.Context(), kept, must(name.NewRepository("example.com/acme/server")))
		require.NoError(t, err)
		assert.Equal(t, authn.Anonymous, auth)
	}
	paths, err := oci.DockerConfig([]byte(`{"auths":{"example.com":{"auth":"YTpi"},"example.com/team":{"auth":"Yzpk"},"example.com/team/app":{"auth":"ZTpm"}}}`))
	require.NoError(t, err)
	for address, user := range map[string]string{"example.com/team/app": "e", "example.com/team/appendix": "c", "example.com/teams/app": "a"} {
		auth, err := authn.Resolve(t.Context(), paths, must(name.NewRepository(address)))
		require.NoError(t, err)
		assert.Equal(t, user, must(authn.Authorization(t.Context(), auth)).Username, address)
	}
	_, err = oci.DockerConfig([]byte(`{"auths":`))
	require.Error(t, err)
}

func TestNewRepositoryRefuses(t *testing.T) {
	for _, address := range []string{"", "acme/server", "ghcr.io/acme/server:1.0", "ghcr.io/Acme", "https://ghcr.io/acme/server"} {
		_, err := oci.NewRepository(address, oci.RegistryOptions{})
		assert.Error(t, err, address)
	}
	for _, address := range []string{"ghcr.io/acme/server", "xn--bcher-kva.example/acme/server", "localhost:5000/server"} {
		r, err := oci.NewRepository(address, oci.RegistryOptions{})
		require.NoError(t, err)
		assert.Equal(t, address, r.String())
	}
	_, err := oci.NewRepository("ghcr.io/acme/server", oci.RegistryOptions{RootCAs: []byte("none")})
	assert.ErrorContains(t, err, "no certificate")
}

// Base images come from a registry, and those of a published image can be had
// again.
func TestRegistryBases(t *testing.T) {
	p := newPeer(t)
	base := p.address("distroless/static")
	r, err := oci.NewRepository(base, fast)
	require.NoError(t, err)
	_, err = oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("0.1.0")), Index: bases(t)[imagespec.StaticBase]}, r)
	require.NoError(t, err)

	rel := newRelease(t, "1.2.3", both...)
	rel.manifest.Image.Base = base + ":latest"
	image := assembled(t, rel.load(), oci.AssembleOptions{Bases: oci.RegistryBases(fast)})
	assert.Equal(t, base+":latest", pinsOf(image)["linux/arm64"].Name)

	require.NoError(t, oci.WriteLayout(t.TempDir(), image.Index, "1.2.3"), "the base's layers can still be read")

	repository := p.repository(t, fast)
	_, err = oci.Publish(t.Context(), publication(image, "1.2.3"), repository)
	require.NoError(t, err)

	pinned := assembled(t, rel.load(), oci.AssembleOptions{Bases: pinsOf(image).With(oci.RegistryBases(fast))})
	assert.Equal(t, image.Digest, pinned.Digest)

	down := newPeer(t)
	down.set(answer("/", 503, ""))
	fresh := newPeer(t).repository(t, fast)
	found, err := oci.ReadPublished(t.Context(), "1.2.3", fresh, down.repository(t, fast), repository)
	require.NoError(t, err, "one has it")
	require.Error(t, found.Unread, "one could not be read")
	assert.Equal(t, pinsOf(image), found.Pins)
	assert.Equal(t, repository.String(), found.Repository)
	assert.True(t, found.SameBases(pinsOf(image)))
	other := newRelease(t, "1.2.3", both...).assemble()
	assert.False(t, found.SameBases(pinsOf(other)), "assembled on other base images")
	found, err = oci.ReadPublished(t.Context(), "1.2.4", fresh, repository)
	require.NoError(t, err)
	assert.Equal(t, &oci.Published{}, found, "all said that it isn't there")
	assert.True(t, found.SameBases(pinsOf(other)), "nothing to differ from")
	// The one that can't be read may have it, on other base images.
	for _, all := range [][]*oci.Repository{{down.repository(t, fast)}, {fresh, down.repository(t, fast)}, {down.repository(t, fast), fresh}} {
		_, err = oci.ReadPublished(t.Context(), "1.2.3", all...)
		require.ErrorContains(t, err, `find image tag "1.2.3"`)
		require.ErrorContains(t, err, "503")
	}

	_, err = oci.RegistryBases(fast).Base(t.Context(), base+":latest", "linux/s390x")
	require.ErrorIs(t, err, imagespec.ErrBase)
	_, err = oci.RegistryBases(fast).Base(t.Context(), base+":none", "linux/amd64")
	require.ErrorIs(t, err, oci.ErrNotFound)
}
