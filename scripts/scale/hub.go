package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/reconcile"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/release/dist"
	"dagger/gantry/ci/version"
	"dagger/gantry/scripts/scale/curve"
)

const (
	owner, repository = "acme", "app"
	slug              = owner + "/" + repository
	commit            = "0123456789abcdef0123456789abcdef01234567"
)

// serve serves a handler on the loopback interface, and returns its address.
func (w *world) serve(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(l) }()
	w.onClose(func() { _ = server.Close() })
	return l.Addr().String(), nil
}

// hub starts a fake GitHub without limits, with an empty repository.
func (w *world) hub() (*fakehub.Repo, error) {
	server := fakehub.New(fakehub.Config{NoEvents: true})
	w.onClose(server.Close)
	address, err := w.serve(fakehub.HTTPServer(server).Handler)
	if err != nil {
		return nil, err
	}
	w.Hub = "http://" + address
	repo := server.AddRepo(owner, repository)
	repo.AddCommit(commit, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	return repo, nil
}

// counter counts requests and the bytes of their bodies, those of answers included.
type counter struct{ requests, bytes atomic.Int64 }

func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	c.bytes.Add(max(req.ContentLength, 0))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		res.Body = &countedBody{res.Body, &c.bytes}
	}
	return res, err
}

type countedBody struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}

func (c *counter) done() done { return done{c.requests.Load(), c.bytes.Load()} }

// client returns a client of the fake GitHub, whose clock doesn't wait.
func (j job) client() (*github.Client, *counter, error) {
	c := &counter{}
	client, err := github.New(github.Options{
		Token: func(context.Context) (string, error) { return "of-nobody", nil }, APIURL: j.Hub + "/api/v3/", Transport: c,
		Clock: fakehub.NewClock(time.Now()),
	})
	return client, c, err
}

// assetSize is the size of an asset that is no archive.
const assetSize = 16 << 10

// content returns the content of the i-th file.
func content(i int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%07d\n", i), assetSize/8)
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// manifestOf describes a release whose assets are some files.
func manifestOf(number string, files ...manifest.Asset) *manifest.Manifest {
	return &manifest.Manifest{
		SchemaVersion: "1.0", Component: repository, Tag: "v" + number, Version: number, Channel: "stable", Commit: commit,
		CommitDate: "2026-01-01T00:00:00Z", Repository: "https://github.com/" + slug,
		Toolchain: manifest.Toolchain{Rustc: "rustc 1.96.0", Cargo: "cargo 1.96.0"}, Assets: files,
	}
}

// sealed returns the texts of release-manifest.json and SHA256SUMS.
func sealed(m *manifest.Manifest) (text, sums []byte, err error) {
	if text, err = m.Marshal(); err != nil {
		return nil, nil, err
	}
	list := archive.Sums{}
	if err := list.Add(manifest.FileName, digest(text)); err != nil {
		return nil, nil, err
	}
	for _, a := range m.Assets {
		if err := list.Add(a.Name, a.SHA256); err != nil {
			return nil, nil, err
		}
	}
	sums, err = list.Format()
	return text, sums, err
}

// writeRelease writes the files of a release with n assets into a directory.
func writeRelease(dir string, n int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var files []manifest.Asset
	for i := range n - 2 {
		name, text := fmt.Sprintf("file-%04d.txt", i), content(i)
		files = append(files, manifest.Asset{Name: name, Kind: manifest.KindFile, SHA256: digest(text), Size: int64(len(text))})
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	text, sums, err := sealed(manifestOf("1.0.0", files...))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), text, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, manifest.SumsName), sums, 0o644)
}

// spec describes the release of a version whose files are in a directory.
func spec(dir, number string) (github.Spec, error) {
	s := github.Spec{
		Owner: owner, Repo: repository, Tag: "v" + number, Commit: commit, Title: "v" + number, Notes: "Notes.", OwnsLatest: true,
		VersionOf: func(tag string) (*semver.Version, bool) {
			v, err := version.Parse(tag)
			return v, err == nil
		},
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		measured, err := dist.Measure(file)
		if err != nil {
			return s, err
		}
		s.Assets = append(s.Assets, github.Asset{
			Name: e.Name(), Size: measured.Size, SHA256: measured.SHA256, Open: func() (io.ReadCloser, error) { return os.Open(file) },
		})
	}
	return s, err
}

// publish publishes a version whose files are in a directory of the job, and expects
// some writes.
func publish(number string, expected func(writes int) bool) func(context.Context, job) (done, error) {
	return func(ctx context.Context, j job) (done, error) {
		s, err := spec(filepath.Join(j.Dir, "merged"), number)
		if err != nil {
			return done{}, err
		}
		client, c, err := j.client()
		if err != nil {
			return done{}, err
		}
		report, err := client.Release(ctx, s)
		if err != nil {
			return done{}, err
		}
		if !expected(report.Writes) {
			return done{}, fmt.Errorf("it wrote %d times:\n%s", report.Writes, report.Text())
		}
		_ = report.Text() // which the caller prints
		return c.done(), nil
	}
}

func some(writes int) bool { return writes > 0 }
func none(writes int) bool { return writes == 0 }

// mergeFiles is what publish does with the files of dist.
func mergeFiles(ctx context.Context, j job) (done, error) {
	_, err := dist.Merge(ctx, filepath.Join(j.Dir, "dist"), filepath.Join(j.Dir, "merged"))
	return done{}, err
}

// verifyRelease verifies a release with the assets of a job.
func verifyRelease(ctx context.Context, j job) (done, error) {
	client, c, err := j.client()
	if err != nil {
		return done{}, err
	}
	v, err := published.Verify(ctx, client, owner, repository, "v1.0.0", nil)
	if err != nil {
		return done{}, err
	}
	if v.Assets != j.N {
		return done{}, fmt.Errorf("%d assets were downloaded, not %d", v.Assets, j.N)
	}
	return c.done(), v.Err()
}

var assets = group{
	Group: curve.Group{
		Name: "assets", Title: "Assets of a release", Unit: "assets",
		About: "A release whose assets have 16 KiB each, on the fake GitHub of ci/fakehub, without limits and over HTTP. GitHub's limit is 1,000 assets; its limits of requests, which make a release of that size wait for hours, don't count here.",
	},
	base: 5, sizes: []int{10, 30, 100, 200, 300, 500, 1000}, quick: []int{10, 40}, repeats: 5,
	open: func(_ context.Context, w *world) error {
		if _, err := w.hub(); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(w.Dir, "merged"), 0o755); err != nil {
			return err
		}
		return writeRelease(filepath.Join(w.Dir, "dist"), w.N)
	},
	steps: []step{
		{name: "merge", what: "Checks the files of the release and writes `SHA256SUMS`, as `publish` does", memory: 64, pure: mergeFiles},
		{name: "publish", what: "`publish` of a release that doesn't exist", requests: &curve.Bound{Fixed: 20, PerHundred: 2, Each: 1}, memory: 96, once: true, pure: publish("1.0.0", some)},
		{name: "publish again", what: "`publish` of the complete release", requests: &curve.Bound{Fixed: 10, PerHundred: 1}, memory: 64, pure: publish("1.0.0", none)},
		{name: "verify", what: "`verify-release`, which downloads every asset", requests: &curve.Bound{Fixed: 10, PerHundred: 2, Each: 2}, memory: 64, pure: verifyRelease},
	},
}

// past returns the version of the i-th past release.
func past(i int) string { return fmt.Sprintf("0.%d.%d", i/20, i%20) }

// files of a past release are as many as those of four targets.
func pastFiles(number string) ([]fakehub.File, error) {
	var files []fakehub.File
	var listed []manifest.Asset
	for _, triple := range []string{"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"} {
		for _, kind := range []string{"tar.gz", "cdx.json", "spdx.json"} {
			name := fmt.Sprintf("app-%s-%s.%s", number, triple, kind)
			files = append(files, fakehub.File{Name: name, Data: []byte(name)})
			listed = append(listed, manifest.Asset{Name: name, Kind: manifest.KindFile, SHA256: digest([]byte(name)), Size: int64(len(name))})
		}
	}
	m := manifestOf(number, listed...)
	m.Image = &manifest.Image{}
	text, sums, err := sealed(m)
	return append(files, fakehub.File{Name: manifest.FileName, Data: text}, fakehub.File{Name: manifest.SumsName, Data: sums}), err
}

// openReleases makes n past releases, and the files of the next one.
func openReleases(_ context.Context, w *world) error {
	repo, err := w.hub()
	if err != nil {
		return err
	}
	for i := range w.N {
		files, err := pastFiles(past(i))
		if err != nil {
			return err
		}
		repo.Seed(fakehub.Seed{Tag: "v" + past(i), Commit: commit, Title: "v" + past(i), Body: strings.Repeat("- a change\n", 100), Latest: i == w.N-1, Files: files})
	}
	if w.Registry, err = w.registry(); err != nil {
		return err
	}
	return writeRelease(filepath.Join(w.Dir, "merged"), 5)
}

// planRelease plans the next release.
func planRelease(ctx context.Context, j job) (done, error) {
	s, err := spec(filepath.Join(j.Dir, "merged"), "1.0.0")
	if err != nil {
		return done{}, err
	}
	client, c, err := j.client()
	if err != nil {
		return done{}, err
	}
	_, err = client.Preflight(ctx, s)
	return c.done(), err
}

// findRelease reads the newest release, as the image of a tag does.
func findRelease(ctx context.Context, j job) (done, error) {
	client, c, err := j.client()
	if err != nil {
		return done{}, err
	}
	r, err := published.Find(ctx, client, published.Request{Repository: slug, Tag: "v1.0.0"}, published.Options{})
	if err != nil {
		return done{}, err
	}
	if len(r.Known) != j.N {
		return done{}, fmt.Errorf("it found %d other releases, not %d", len(r.Known), j.N)
	}
	return c.done(), nil
}

// reconcileReleases looks for missing images of the last ten releases.
func reconcileReleases(ctx context.Context, j job) (done, error) {
	client, c, err := j.client()
	if err != nil {
		return done{}, err
	}
	report, err := reconcile.Run(ctx, reconcile.Options{
		Client: client, Repository: slug, Last: 10, DryRun: true,
		Settings: registries.Settings{Addresses: []string{j.Registry + "/app"}, PlainHTTP: []string{j.Registry}, Options: oci.RegistryOptions{}},
	})
	if err != nil {
		return done{}, err
	}
	if len(report.Lines) != min(10, j.N+1) {
		return done{}, fmt.Errorf("it checked %d releases", len(report.Lines))
	}
	d := c.done()
	d.requests += report.Checking.Registries
	return d, nil
}

var releases = group{
	Group: curve.Group{
		Name: "releases", Title: "Past releases", Unit: "past releases",
		About: "A repository with n releases of 14 assets and notes of a thousand characters each, on the fake GitHub. The next release has five assets. Lists of releases have a hundred per page, which is GitHub's most.",
	},
	base: 1, sizes: []int{10, 30, 100, 300, 1000, 2000, 4000}, quick: []int{10, 120}, repeats: 3,
	open: openReleases,
	steps: []step{
		{name: "decide", what: "Plans the next release, with the tags of all others in git", memory: 64, pure: planTags},
		{name: "plan", what: "What `publish` checks before anything compiles", requests: &curve.Bound{Fixed: 10, PerHundred: 1}, memory: 96, pure: planRelease},
		{name: "publish", what: "`publish` of one more release", requests: &curve.Bound{Fixed: 30, PerHundred: 4}, memory: 96, once: true, pure: publish("1.0.0", some)},
		{name: "publish again", what: "`publish` of the complete release", requests: &curve.Bound{Fixed: 10, PerHundred: 1}, memory: 96, pure: publish("1.0.0", none)},
		{name: "read for an image", what: "What `image --tag` reads of the new release and of those before", requests: &curve.Bound{Fixed: 10, PerHundred: 1}, memory: 96, pure: findRelease},
		{name: "reconcile", what: "`reconcile --last=10 --dry-run`", requests: &curve.Bound{Fixed: 40, PerHundred: 1}, memory: 96, pure: reconcileReleases},
	},
}
