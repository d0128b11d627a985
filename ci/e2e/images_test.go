package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
)

// attachedTo finds what is attached to an image, by platform, as any client does.
func attachedTo(t *testing.T, image string) map[string][]v1.Descriptor {
	t.Helper()
	ref := must(t, image)
	index, err := remote.Index(ref)
	require.NoError(t, err)
	m, err := index.IndexManifest()
	require.NoError(t, err)
	all := map[string][]v1.Descriptor{}
	for _, d := range m.Manifests {
		require.NotNil(t, d.Platform, "an image without a platform")
		list, err := remote.Referrers(ref.Context().Digest(d.Digest.String()))
		require.NoError(t, err)
		attached, err := list.IndexManifest()
		require.NoError(t, err)
		all[d.Platform.String()] = attached.Manifests
	}
	return all
}

// assertBills makes sure that the bills of materials of a release are attached to the
// image of each platform, byte for byte, and that the release has one for each.
func assertBills(t *testing.T, h *hub, image string, targets map[string]string) {
	t.Helper()
	attached := attachedTo(t, image)
	text, found := h.repo.Asset("v1.0.0", manifest.FileName)
	require.True(t, found, "the release has no manifest")
	m, err := manifest.Parse(text)
	require.NoError(t, err)
	for platform, target := range targets {
		var want, got []string
		for _, a := range m.Assets {
			if a.Kind == manifest.KindSBOM && a.Target == target {
				want = append(want, "sha256:"+a.SHA256)
			}
		}
		require.NotEmpty(t, want, "the release has no bill of materials of %s", target)
		for _, d := range attached[platform] {
			assert.Contains(t, []string{"application/vnd.cyclonedx+json", "application/spdx+json"}, d.ArtifactType, platform)
			artifact, err := remote.Image(must(t, image).Context().Digest(d.Digest.String()))
			require.NoError(t, err)
			m, err := artifact.Manifest()
			require.NoError(t, err)
			require.Len(t, m.Layers, 1, platform)
			got = append(got, m.Layers[0].Digest.String())
			require.NotNil(t, m.Subject, platform)
		}
		assert.ElementsMatch(t, want, got, platform)
	}
}

// Phase 2 makes the image of a published release, and never touches it.
func TestImages(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\nsbom = true\ntargets = [\""+native+"\", \"aarch64-unknown-linux-musl\"]\n\n[package.metadata.gantry.image]\nexpose = [\"8080/tcp\"]\n")
	run(t, source, "git", "tag", "-d", "v1.0.0")
	commit(t, source, "v1.0.0")
	h := newHub(t, source)
	require.NoError(t, h.release(t, source, "--dispatch").err)
	released := h.Dump()

	local, inside := os.Getenv("GANTRY_REGISTRY"), os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	require.NotEmpty(t, local, "set by scripts/test: the registry, as this machine sees it")
	require.NotEmpty(t, inside, "set by scripts/test: the registry, as containers see it")
	repository := fmt.Sprintf("/test/tiny-%d", time.Now().UnixNano())
	images := func(args ...string) result {
		return call(t, h.images(args...)...)
	}

	// A registry that is not there fails the phase and nothing else.
	got := images("image", "--tag=v1.0.0", "publish", "--addresses="+strings.Split(inside, ":")[0]+":1/x/y")
	require.Error(t, got.err)
	assert.Equal(t, released, h.Dump(), "a failure of phase 2 changed the release")

	digest := images("image", "--tag=v1.0.0", "digest")
	require.NoError(t, digest.err)

	payload := h.repo.Dispatches()[0]
	event := filepath.Join(t.TempDir(), "event.json")
	require.NoError(t, os.WriteFile(event, fmt.Appendf(nil, `{"action": %q, "client_payload": %s, "repository": {"full_name": "example/tiny"}}`, payload.EventType, payload.Payload), 0o644))
	published, did := traced(t, h.images("from-event", "--event="+event, "publish", "--addresses="+inside+repository)...)
	require.NoError(t, published.err)
	// By the engine's trace, the only containers are those of the smoke test:
	// nothing was compiled, and nothing emulated but the finished program.
	t.Logf("%d spans, containers: %q", len(did.names), did.containers())
	for _, command := range did.containers() {
		assert.True(t, strings.HasPrefix(command, "--version\" useEntrypoint"), "phase 2 ran %q", command)
	}
	assert.Len(t, did.containers(), 2, "one for each platform")
	assert.Contains(t, published.stdout, strings.TrimSpace(digest.stdout), "the digest was known before the push")
	assert.Contains(t, published.log, "linux/arm64: tiny 1.0.0")
	assert.Contains(t, published.log, "linux/amd64: tiny 1.0.0")
	assert.False(t, published.started(), "phase 2 compiled something")

	for _, tag := range []string{"1.0.0", "1.0", "1", "latest"} {
		ref, err := name.ParseReference(local+repository+":"+tag, name.Insecure)
		require.NoError(t, err)
		index, err := remote.Index(ref)
		require.NoError(t, err, tag)
		have, err := index.Digest()
		require.NoError(t, err)
		assert.Equal(t, strings.TrimSpace(digest.stdout), have.String(), tag)
		m, err := index.IndexManifest()
		require.NoError(t, err)
		assert.Len(t, m.Manifests, 2, tag)
	}

	assert.Contains(t, published.stdout, "done: attach tiny-1.0.0-aarch64-unknown-linux-musl.cdx.json: linux/arm64 lacks this application/vnd.cyclonedx+json")
	assertBills(t, h, local+repository+":latest", map[string]string{"linux/amd64": native, "linux/arm64": "aarch64-unknown-linux-musl"})

	again := images("image", "--tag=v1.0.0", "publish", "--addresses="+inside+repository)
	require.NoError(t, again.err)
	assert.Contains(t, again.stdout, "pushed 0 bytes")
	assert.Contains(t, again.stdout, "nothing to do: keep tiny-1.0.0-aarch64-unknown-linux-musl.cdx.json: linux/arm64 has it")
	verified := images("image", "--tag=v1.0.0", "verify", "--ref="+inside+repository, "--current-base", "--sboms")
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "byte for byte, on linux/amd64, linux/arm64")
	assert.Contains(t, verified.stdout, "linux/arm64: attached application/vnd.cyclonedx+json sha256:")
	assert.Contains(t, verified.stdout, ", the release's tiny-1.0.0-aarch64-unknown-linux-musl.cdx.json")
	reconciled := images("reconcile", "--addresses="+inside+repository)
	require.NoError(t, reconciled.err)
	assert.Contains(t, reconciled.stdout, "v1.0.0: ok: nothing is missing")
	explained := images("image", "--tag=v1.0.0", "explain", "--addresses="+inside+repository)
	require.NoError(t, explained.err)
	assert.Contains(t, explained.stdout, "latest")
	assert.Equal(t, released, h.Dump(), "phase 2 changed the release")

	// The image itself, in two sessions.
	for i := range 2 {
		tarball := filepath.Join(t.TempDir(), fmt.Sprintf("image-%d.tar", i))
		require.NoError(t, images("image", "--tag=v1.0.0", "tarball", "export", "--path="+tarball).err)
		assert.Contains(t, run(t, "", "tar", "-tf", tarball), "blobs/sha256/"+strings.TrimPrefix(strings.TrimSpace(digest.stdout), "sha256:"))
		smoked := images("image", "--tag=v1.0.0", "smoke")
		require.NoError(t, smoked.err)
		assert.Contains(t, smoked.stdout, "linux/arm64: tiny 1.0.0")
		ran := images("image", "--tag=v1.0.0", "container", "--platform=linux/amd64", "with-exec", "--args=--version", "--use-entrypoint", "stdout")
		require.NoError(t, ran.err)
		assert.Equal(t, "tiny 1.0.0\n", ran.stdout)
	}

	// A lost event is made up for, and then lost attachments.
	lost := images("without-attachments", "reconcile", "--addresses="+inside+repository+"-lost")
	require.NoError(t, lost.err)
	assert.Contains(t, lost.stdout, "v1.0.0: published: ")
	lacking := images("image", "--tag=v1.0.0", "verify", "--ref="+inside+repository+"-lost", "--sboms")
	require.Error(t, lacking.err)
	assert.Contains(t, lacking.said(), "tiny-1.0.0-aarch64-unknown-linux-musl.cdx.json is not attached: publish the image again")
	lost = images("reconcile", "--addresses="+inside+repository+"-lost")
	require.NoError(t, lost.err)
	assert.Contains(t, lost.stdout, "v1.0.0: published: ")
	assert.Contains(t, lost.stdout, "the image of linux/amd64 lacks tiny-1.0.0-"+native+".cdx.json")
	assertBills(t, h, local+repository+"-lost:latest", map[string]string{"linux/amd64": native, "linux/arm64": "aarch64-unknown-linux-musl"})
	assert.Equal(t, released, h.Dump(), "phase 2 changed the release")
}

// A base image that moves doesn't change a published version: a re-run finds the base
// images that it was made from.
func TestMovedBase(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\"x86_64-unknown-linux-musl\"]\n\n[package.metadata.gantry.image]\n")
	h := newHub(t, source)
	require.NoError(t, h.release(t, source).err)
	local, inside := os.Getenv("GANTRY_REGISTRY"), os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	unique := fmt.Sprint(time.Now().UnixNano())
	// A mirror with a path, whose base image is this test's.
	mirror := "/moved-" + unique
	base, err := remote.Index(must(t, local+"/distroless/static-debian12:nonroot"))
	require.NoError(t, err)
	move := func(label string) {
		t.Helper()
		require.NoError(t, remote.WriteIndex(must(t, local+mirror+"/distroless/static-debian12:nonroot"), labelled(t, base, label)))
	}
	address := inside + "/test/moved-base-" + unique
	image := func(args ...string) result {
		return call(t, h.at(append([]string{"images", "with-plain-http", "--host=" + inside, "with-mirror", "--host=gcr.io", "--url=http://" + inside + mirror,
			"image", "--tag=v1.0.0"}, args...)...)...)
	}
	move("first")
	before := image("digest")
	require.NoError(t, before.err)
	require.NoError(t, image("publish", "--addresses="+address).err)

	move("second")
	after := image("digest")
	require.NoError(t, after.err)
	require.NotEqual(t, before.stdout, after.stdout, "the base did not move")
	again := image("publish", "--addresses="+address)
	require.NoError(t, again.err)
	assert.Contains(t, again.log, "on other base images")
	assert.Contains(t, again.stdout, "pushed 0 bytes")
	have, err := remote.Head(must(t, local+"/test/moved-base-"+unique+":latest"))
	require.NoError(t, err)
	assert.Equal(t, strings.TrimSpace(before.stdout), have.Digest.String())
	verified := image("verify", "--ref="+address)
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "byte for byte")
	current := image("verify", "--ref="+address, "--current-base")
	require.Error(t, current.err)
	assert.Contains(t, current.said(), "release a new version to use it")
}

// labelled returns an index whose images have one more label.
func labelled(t *testing.T, index v1.ImageIndex, label string) v1.ImageIndex {
	t.Helper()
	m, err := index.IndexManifest()
	require.NoError(t, err)
	var added []mutate.IndexAddendum
	for _, d := range m.Manifests {
		image, err := index.Image(d.Digest)
		require.NoError(t, err)
		file, err := image.ConfigFile()
		require.NoError(t, err)
		config := file.Config
		config.Labels = map[string]string{"test": label}
		changed, err := mutate.Config(image, config)
		require.NoError(t, err)
		added = append(added, mutate.IndexAddendum{Add: changed, Descriptor: v1.Descriptor{Platform: d.Platform}})
	}
	return mutate.AppendManifests(empty.Index, added...)
}

// A registry of a company's own has a certificate of its own and wants to know
// who writes; the password is in nothing that is printed.
func TestPrivateRegistry(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\"x86_64-unknown-linux-musl\"]\n\n[package.metadata.gantry.image]\n")
	h := newHub(t, source)
	require.NoError(t, h.release(t, source).err)
	certificate, ca := selfSigned(t, os.Getenv("GANTRY_HOST_IN_CONTAINERS"))
	f := newFlakyWith(t, &certificate)
	f.arm(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "robot" && password == canary {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		answer(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")(w)
		return true
	})
	start := time.Now()
	t.Setenv("CANARY", canary)
	t.Setenv("WRONG", "wrong-password")
	config := filepath.Join(t.TempDir(), "config.json")
	credentials := base64.StdEncoding.EncodeToString([]byte("robot:" + canary))
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, f.address, credentials), 0o600))
	address := fmt.Sprintf("%s/test/private-%d", f.address, time.Now().UnixNano())
	publish := func(certificates string, login ...string) result {
		args := append(append(h.images(), login...), "image", "--tag=v1.0.0", "publish", "--addresses="+address)
		if certificates != "" {
			args = append([]string{"--ca-certificates=" + certificates}, args...)
		}
		got, trace := traced(t, append([]string{"--debug", "-vvv"}, args...)...)
		for _, secret := range []string{canary, credentials, "wrong-password"} {
			assert.NotContains(t, got.stdout+got.log, secret, "the password was printed")
			assert.False(t, strings.Contains(trace.raw.String(), secret), "the password is in the trace")
		}
		return got
	}
	robot := func(secret string) []string {
		return []string{"with-registry-auth", "--address=" + f.address, "--username=robot", "--secret=env:" + secret}
	}
	distrusted := publish("", robot("CANARY")...)
	require.Error(t, distrusted.err)
	assert.Contains(t, distrusted.said(), "pass --ca-certificates")
	refused := publish(ca, robot("WRONG")...)
	require.Error(t, refused.err)
	assert.Contains(t, refused.said(), "UNAUTHORIZED")
	published := publish(ca, robot("CANARY")...)
	require.NoError(t, published.err)
	assert.Contains(t, published.stdout, "done: tag 1.0.0")
	again := publish(ca, "with-docker-config", "--config=file:"+config)
	require.NoError(t, again.err)
	assert.Contains(t, again.stdout, "pushed 0 bytes")
	noCanaryInEngine(t, start)
}

// A static program works in its image: the base that Gantry chooses has the
// roots of TLS and the time zones, on both platforms, and what is added to the
// base is the program and next to nothing else.
func TestStaticImage(t *testing.T) {
	source := filepath.Join(t.TempDir(), "tiny")
	require.NoError(t, os.CopyFS(source, os.DirFS("testdata/static")))
	commit(t, source, "v1.0.0")
	h := newHub(t, source)
	require.NoError(t, h.release(t, source).err)

	inside := os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	image := h.images("image", "--tag=v1.0.0")
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		got := call(t, append(slices.Clone(image), "container", "--platform="+platform, "with-env-variable", "--name=TZ", "--value=Asia/Tokyo",
			"with-exec", "--args=--works", "--use-entrypoint", "stdout")...)
		require.NoError(t, got.err, platform)
		var roots int
		_, err := fmt.Sscanf(got.stdout, "%d roots\n", &roots)
		require.NoError(t, err, got.stdout)
		assert.Greater(t, roots, 50, platform)
		assert.Contains(t, got.stdout, "09:00 +09:00", platform)
	}

	// Base + binary + less than 20 KiB, as the registry has them: compressed.
	repository := fmt.Sprintf("/test/static-%d", time.Now().UnixNano())
	require.NoError(t, call(t, append(slices.Clone(image), "publish", "--addresses="+inside+repository)...).err)
	local := os.Getenv("GANTRY_REGISTRY")
	base, err := remote.Index(must(t, local+"/distroless/static-debian12:nonroot"))
	require.NoError(t, err)
	index, err := remote.Index(must(t, local+repository+":1.0.0"))
	require.NoError(t, err)
	dist := filepath.Join(t.TempDir(), "dist")
	require.NoError(t, call(t, "--source="+source, "release", "--tag=v1.0.0", "dist", "export", "--path="+dist).err)
	for arch, target := range map[string]string{"amd64": "x86_64-unknown-linux-musl", "arm64": "aarch64-unknown-linux-musl"} {
		archive, err := os.Stat(filepath.Join(dist, "tiny-1.0.0-"+target+".tar.gz"))
		require.NoError(t, err)
		over := size(t, index, arch) - size(t, base, arch) - archive.Size()
		t.Logf("linux/%s: base + archive %+d bytes", arch, over)
		assert.Less(t, over, int64(20<<10), arch)
	}
}

func must(t *testing.T, ref string) name.Reference {
	t.Helper()
	parsed, err := name.ParseReference(ref, name.Insecure)
	require.NoError(t, err)
	return parsed
}

// size of all that is pulled for an architecture: layers, configuration and
// manifest.
func size(t *testing.T, index v1.ImageIndex, arch string) int64 {
	t.Helper()
	m, err := index.IndexManifest()
	require.NoError(t, err)
	for _, d := range m.Manifests {
		if d.Platform == nil || d.Platform.Architecture != arch {
			continue
		}
		image, err := index.Image(d.Digest)
		require.NoError(t, err)
		manifest, err := image.Manifest()
		require.NoError(t, err)
		total := d.Size + manifest.Config.Size
		for _, l := range manifest.Layers {
			total += l.Size
		}
		return total
	}
	require.Fail(t, "the index has no such platform", arch)
	return 0
}
