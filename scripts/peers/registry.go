package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/google/go-containerregistry/pkg/registry"
)

// imageRegistry is a registry in memory. It counts what is sent to it, and refuses what it is
// told to refuse.
type imageRegistry struct {
	port   int
	server *http.Server

	mu     sync.Mutex
	sent   int64
	refuse func(*http.Request) bool
}

// startRegistry starts one at all addresses, for containers of the engine reach it only
// at the machine's.
func startRegistry() (*imageRegistry, error) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		return nil, fmt.Errorf("open a registry: %w", err)
	}
	r := &imageRegistry{port: l.Addr().(*net.TCPAddr).Port}
	silent := log.New(io.Discard, "", 0)
	store := registry.New(registry.Logger(silent), registry.WithReferrersSupport(true))
	r.server = &http.Server{ErrorLog: silent, Handler: r.watched(store)}
	go func() { _ = r.server.Serve(l) }()
	return r, nil
}

func (r *imageRegistry) Close() error { return r.server.Close() }

// local is the registry's name on this machine.
func (r *imageRegistry) local() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

// watched counts and refuses requests.
func (r *imageRegistry) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		refused := r.refuse != nil && r.refuse(q)
		r.mu.Unlock()
		if refused {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"the quota of this repository is used up"}]}`)
			return
		}
		q.Body = &counted{q.Body, r}
		next.ServeHTTP(w, q)
	})
}

// counted counts the bytes of a body.
type counted struct {
	io.ReadCloser
	in *imageRegistry
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.in.mu.Lock()
	c.in.sent += int64(n)
	c.in.mu.Unlock()
	return n, err
}

// reset returns the number of bytes that were sent since the last time.
func (r *imageRegistry) reset() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent
	r.sent = 0
	return sent
}

// refusing refuses what a function chooses; nil is nothing.
func (r *imageRegistry) refusing(what func(*http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = what
}

// writes chooses every write.
func writes(q *http.Request) bool { return q.Method != http.MethodGet && q.Method != http.MethodHead }

var manifestPath = regexp.MustCompile(`^/v2/.+/manifests/([^/]+)$`)

// afterManifests chooses every new manifest after the first n, as a registry does whose
// quota is used up in the middle. A manifest that comes again counts once.
func afterManifests(n int) func(*http.Request) bool {
	var taken []string
	return func(q *http.Request) bool {
		m := manifestPath.FindStringSubmatch(q.URL.Path)
		if q.Method != http.MethodPut || m == nil || slices.Contains(taken, m[1]) {
			return false
		}
		if len(taken) < n {
			taken = append(taken, m[1])
			return false
		}
		return true
	}
}

// repository is one in the registry, as this machine reaches it.
func (r *imageRegistry) repository(path string) (name.Repository, error) {
	return name.NewRepository(r.local()+"/"+path, name.Insecure)
}

// tags returns the tags of a repository with their digests, without those by which a
// registry lists referrers. A repository that isn't there has none.
func (r *imageRegistry) tags(path string) (map[string]string, error) {
	repo, err := r.repository(path)
	if err != nil {
		return nil, err
	}
	list, err := remote.List(repo)
	if err != nil && !strings.Contains(err.Error(), "NAME_UNKNOWN") {
		return nil, err
	}
	tags := map[string]string{}
	for _, t := range list {
		if strings.HasPrefix(t, "sha256-") {
			continue
		}
		d, err := remote.Head(repo.Tag(t))
		if err != nil {
			return nil, err
		}
		tags[t] = d.Digest.String()
	}
	return tags, nil
}

// broken returns the tags of a repository whose images can't be pulled as a whole for
// every platform.
func (r *imageRegistry) broken(path string, platforms ...string) ([]string, error) {
	tags, err := r.tags(path)
	if err != nil {
		return nil, err
	}
	repo, err := r.repository(path)
	if err != nil {
		return nil, err
	}
	var broken []string
	for t := range tags {
		for _, p := range platforms {
			if _, err := image(repo.Tag(t), p); err != nil {
				broken = append(broken, t)
				break
			}
		}
	}
	slices.Sort(broken)
	return broken, nil
}

// image returns the image of a platform, all of whose layers are there.
func image(ref name.Reference, platform string) (v1.Image, error) {
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, remote.WithPlatform(*p))
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	if config.Architecture != p.Architecture {
		return nil, fmt.Errorf("%s is an image for %s: want %s", ref, config.Architecture, p.Architecture)
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, rc)
		if err := rc.Close(); err != nil {
			return nil, err
		}
		if err != nil {
			return nil, err
		}
	}
	return img, nil
}

// readFile returns a file of the image of a platform.
func readFile(ref name.Reference, platform, path string) ([]byte, error) {
	img, err := image(ref, platform)
	if err != nil {
		return nil, err
	}
	rc := mutate.Extract(img)
	defer rc.Close()
	for r := tar.NewReader(rc); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the image %s for %s has no file %q", ref, platform, path)
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimPrefix(filepath.ToSlash(filepath.Clean(h.Name)), "/") == path {
			return io.ReadAll(r)
		}
	}
}
