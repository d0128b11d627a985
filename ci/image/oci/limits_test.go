package oci_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// gauge measures how many things happen at once, each of which takes a second.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

func (g *gauge) happen() {
	g.mu.Lock()
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	time.Sleep(time.Second)
	g.mu.Lock()
	g.now--
	g.mu.Unlock()
}

// slowHub is a registry whose answers take a second.
type slowHub struct {
	http.RoundTripper
	*gauge
}

func (s slowHub) RoundTrip(req *http.Request) (*http.Response, error) {
	s.happen()
	return s.RoundTripper.RoundTrip(req)
}

// slowBases are base images that take a second to find.
type slowBases struct {
	oci.Bases
	*gauge
}

func (s slowBases) Base(ctx context.Context, ref, platform string) (oci.Base, error) {
	s.happen()
	return s.Bases.Base(ctx, ref, platform)
}

// What is done at once is bounded.
func TestWhatIsDoneAtOnce(t *testing.T) {
	t.Run("images are assembled by fours", func(t *testing.T) {
		all := map[string]string{
			"x86_64-unknown-linux-gnu": "linux/amd64", "aarch64-unknown-linux-gnu": "linux/arm64", "armv7-unknown-linux-gnueabihf": "linux/arm/v7",
			"riscv64gc-unknown-linux-gnu": "linux/riscv64", "i686-unknown-linux-gnu": "linux/386", "powerpc64le-unknown-linux-gnu": "linux/ppc64le",
		}
		r := newRelease(t, "1.2.3")
		var platforms []string
		for triple, platform := range all {
			r.add(triple, r.binary(triple, "server", 100))
			platforms = append(platforms, platform)
		}
		r.manifest.Image.Base = "base"
		loaded := r.load()
		found := ocitest.Bases{"base": baseIndex(t, "static", types.OCIManifestSchema1, platforms...)}
		g := &gauge{}
		synctest.Test(t, func(t *testing.T) {
			image, err := oci.Assemble(t.Context(), loaded, oci.AssembleOptions{Bases: slowBases{found, g}, Dir: t.TempDir()})
			require.NoError(t, err)
			assert.Greater(t, len(image.Platforms), 4)
		})
		assert.Equal(t, 4, g.most)
	})
	t.Run("repositories are surveyed by fours", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h, g := newHub(t), &gauge{}
			c := oci.Candidate{Release: &published.Release{Manifest: &manifest.Manifest{Version: "1.2.3"}}}
			for i := range 6 {
				c.Repositories = append(c.Repositories, must(oci.NewRepository(fmt.Sprintf("registry.test/acme/%d", i), serial(slowHub{h, g}))))
			}
			assert.Len(t, oci.MissingFrom(t.Context(), c)[0], 6)
			assert.Equal(t, 4, g.most)
		})
	})
	t.Run("images are sent by as many jobs as there may be", func(t *testing.T) {
		index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
		for i := range 8 {
			img := must(mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{Author: fmt.Sprint(i), RootFS: v1.RootFS{Type: "layers"}}))
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: fmt.Sprint(i)}}})
		}
		for _, jobs := range []int{1, 3} {
			synctest.Test(t, func(t *testing.T) {
				h, g := newHub(t), &gauge{}
				o := serial(slowHub{h, g})
				o.Jobs = jobs
				_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: index}, must(oci.NewRepository(hubAddress, o)))
				require.NoError(t, err)
				assert.Equal(t, jobs, g.most)
			})
		}
	})
	t.Run("repositories are published to at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h, g := newHub(t), &gauge{}
			var all []*oci.Repository
			for i := range 6 {
				all = append(all, must(oci.NewRepository(fmt.Sprintf("registry.test/acme/%d", i), serial(slowHub{h, g}))))
			}
			_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: tiny(t, "1.2.3")}, all...)
			require.NoError(t, err)
			assert.Equal(t, 6, g.most)
		})
	})
}

// What takes too long ends by its deadline, and says so.
func TestDeadlinesThatPass(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(*oci.Repository) (string, error)
		takes time.Duration
		says  string
	}{
		"publish": {func(r *oci.Repository) (string, error) {
			_, err := oci.Publish(context.Background(), oci.Publication{Version: must(versionOf("1.2.3")), Index: tiny(t, "1.2.3")}, r)
			return "", err
		}, 30 * time.Minute, "the deadline of 30m0s passed: run it again to resume"},
		"publish in time": {func(r *oci.Repository) (string, error) {
			_, err := oci.Publish(context.Background(), oci.Publication{Version: must(versionOf("1.2.3")), Index: tiny(t, "1.2.3"), Deadline: time.Minute}, r)
			return "", err
		}, time.Minute, "the deadline of 1m0s passed: run it again to resume"},
		"verify": {func(r *oci.Repository) (string, error) {
			_, err := oci.VerifyImage(context.Background(), newRelease(t, "1.2.3", both...).manifest, r, oci.VerifyOptions{})
			return "", err
		}, 30 * time.Minute, "the deadline of 30m0s passed"},
		"survey": {func(r *oci.Repository) (string, error) {
			return fmt.Sprint(oci.MissingFrom(context.Background(), candidates(r, "1.2.3")...)), nil
		}, 10 * time.Minute, "the deadline of 10m0s passed"},
		"explain": {func(r *oci.Repository) (string, error) {
			return oci.Explain(context.Background(), candidates(r, "1.2.3")[0])
		}, 10 * time.Minute, "the deadline of 10m0s passed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := serial(hanging{})
				o.Timeout = 24 * time.Hour
				start := time.Now()
				said, err := c.do(must(oci.NewRepository(hubAddress, o)))
				if err != nil {
					said = err.Error()
				}
				assert.Contains(t, said, c.says)
				assert.Equal(t, c.takes, time.Since(start))
			})
		})
	}
}

// hanging is a registry that never answers.
type hanging struct{}

func (hanging) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, context.Cause(req.Context())
}
