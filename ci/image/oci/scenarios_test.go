package oci_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// scenario is a state of a registry, what is asked of it, and what happens
// meanwhile. Between them, scenarios make every request that the package makes,
// each from every place that makes it.
type scenario struct {
	name   string
	setup  func(*hub)
	events func() []*event
	// do returns what people are told.
	do func(*hub, *oci.Repository) (string, error)
}

// begin returns a registry in the state of the scenario.
func (x scenario) begin(t testing.TB) *hub {
	h := newHub(t)
	if x.setup != nil {
		x.setup(h)
	}
	if x.events != nil {
		h.events = x.events()
	}
	return h
}

// before is an event that answers nothing itself.
func before(request string, n int, do func(*hub)) *event {
	return &event{request, n, func(h *hub) *http.Response { do(h); return nil }}
}

// instead is an event that is an answer.
func instead(request string, n int, code int, body string) *event {
	return &event{request, n, func(*hub) *http.Response { return respond(code, body) }}
}

const unknown = `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`

func list(all ...*event) func() []*event {
	return func() []*event {
		var fresh []*event
		for _, e := range all {
			e := *e
			fresh = append(fresh, &e)
		}
		return fresh
	}
}

// publishing is a publication of an index of two images.
func publishing(number string, edit ...func(*hub, *oci.Publication)) func(*hub, *oci.Repository) (string, error) {
	return func(h *hub, r *oci.Repository) (string, error) {
		job := oci.Publication{Version: must(versionOf(number)), Index: h.name(double(h.t, number), number)}
		for _, e := range edit {
			e(h, &job)
		}
		report, err := oci.Publish(context.Background(), job, r)
		if report == nil {
			return "", err
		}
		return report.Text(), err
	}
}

// seeded publishes versions before a scenario.
func seeded(numbers ...string) func(*hub) { return func(h *hub) { h.publish(numbers...) } }

func smoke(err error) func(*hub, *oci.Publication) {
	return func(_ *hub, job *oci.Publication) { job.Smoke = func(context.Context) error { return err } }
}

// ours publishes the release of the scenarios.
func ours(edit ...func(*oci.Publication)) func(*hub, *oci.Repository) (string, error) {
	return publishing("1.2.3", func(h *hub, job *oci.Publication) {
		r, image := h.made()
		job.Index, job.Manifest = image.Index, r.manifest
		for _, e := range edit {
			e(job)
		}
	})
}

// older is the release's image, assembled in another way, with the tag of its version only.
func older(change func(*hub, *oci.Image) v1.ImageIndex) func(*hub) {
	return func(h *hub) {
		_, image := h.made()
		index := h.name(change(h, image), "1.2.3 in another way")
		must(oci.Publish(context.Background(), oci.Publication{Version: must(versionOf("1.2.3")), Index: index}, h.other()))
		for _, tag := range []string{"1", "1.2", "latest"} {
			h.drop(tag)
		}
	}
}

func annotated(_ *hub, image *oci.Image) v1.ImageIndex {
	return mutate.Annotations(image.Index, map[string]string{"org.example": "another"}).(v1.ImageIndex)
}

// evil has another binary.
func evil(h *hub, image *oci.Image) v1.ImageIndex {
	return remake(h.t, image, with(h.t, &tar.Header{Typeflag: tar.TypeReg, Name: serverPath, Mode: 0o755, Linkname: "evil"}))
}

// publications are those to one repository.
func publications() []scenario {
	const latest, listing = "PUT manifests/latest", "GET tags/list?n=1000"
	overtaken := before(latest, 1, func(h *hub) { h.publish("1.3.0") })
	return []scenario{
		{"a first version", nil, nil, publishing("1.2.3", smoke(nil))},
		{"a higher version", seeded("1.2.2"), nil, publishing("1.2.3", smoke(nil))},
		{"a dry run", seeded("1.2.2"), nil, publishing("1.2.3", smoke(nil), func(_ *hub, job *oci.Publication) { job.DryRun = true })},
		{"a failed smoke test", seeded("1.2.2"), nil, publishing("1.2.3", smoke(errors.New("it says 1.2.2")))},
		{"a backport", seeded("1.2.3", "1.3.0", "2.0.0"), nil, publishing("1.2.4")},
		{"a prerelease", seeded("1.2.3"), nil, publishing("1.3.0-rc.1")},
		{"a flagged release", seeded("1.2.3"), nil, publishing("1.2.4", func(_ *hub, job *oci.Publication) { job.Flagged = versions("1.2.4") })},
		{"a release without floating tags", seeded("1.2.3"), nil, publishing("1.2.4", func(_ *hub, job *oci.Publication) {
			no := false
			job.Manifest = &manifest.Manifest{Version: "1.2.4", Image: &manifest.Image{Tags: &manifest.ImageTags{Floating: &no}}}
		})},
		{"a known higher release", nil, nil, publishing("1.2.3", func(_ *hub, job *oci.Publication) { job.Known = versions("1.3.0") })},
		{"nothing to do", seeded("1.2.3"), nil, publishing("1.2.3", smoke(nil))},
		{"a floating tag was lost", func(h *hub) { h.publish("1.2.3"); h.drop("1.2") }, nil, publishing("1.2.3", smoke(nil))},
		{"an image was lost", func(h *hub) {
			h.publish("1.2.3")
			h.drop(must(double(h.t, "1.2.3").IndexManifest()).Manifests[1].Digest.String())
		}, nil, publishing("1.2.3", smoke(nil))},
		{"the index was lost", func(h *hub) { h.publish("1.2.3"); h.drop(must(double(h.t, "1.2.3").Digest()).String()) }, nil, publishing("1.2.3")},
		{"a version whose tag is gone", func(h *hub) { h.publish("3.0.0"); h.drop("3.0.0") }, nil, publishing("2.0.0")},
		{"somebody else's floating tag", func(h *hub) { h.foreign("latest") }, nil, publishing("1.2.3")},
		{"somebody else's version tag", func(h *hub) { h.foreign("1.2.3") }, nil, publishing("1.2.3")},
		{"another image of the version", seeded("1.2.3"), nil, publishing("1.2.3", func(h *hub, job *oci.Publication) {
			job.Index = h.name(tiny(h.t, "1.2.3"), "1.2.3 of one platform")
		})},
		{"the release in another way", older(annotated), nil, ours(func(job *oci.Publication) {
			job.Smoke = func(context.Context) error { return errors.New("it was tested before") }
		})},
		{"the release with another binary", older(evil), nil, ours()},
		{"listed tags that are gone", seeded("1.2.3"), list(
			before("HEAD manifests/1.2.3", 1, func(h *hub) { h.drop("1.2.3") }), before("HEAD manifests/1.2", 1, func(h *hub) { h.drop("1.2") }),
		), publishing("1.2.3")},
		{"the version's tag comes late", nil, list(
			instead("HEAD manifests/1.2.3", 1, 404, ""), instead("GET manifests/1.2.3", 3, 404, unknown),
			instead("HEAD manifests/1.2.3", 2, 404, ""), instead("GET manifests/1.2.3", 4, 404, unknown),
		), publishing("1.2.3")},
		{"the version's tag never comes", nil, list(
			instead("HEAD manifests/1.2.3", 1, 404, ""), instead("HEAD manifests/1.2.3", 2, 404, ""), instead("HEAD manifests/1.2.3", 3, 404, ""),
			instead("GET manifests/1.2.3", 3, 404, unknown), instead("GET manifests/1.2.3", 4, 404, unknown), instead("GET manifests/1.2.3", 5, 404, unknown),
		), publishing("1.2.3")},

		{"a higher version while the tag is written", nil, list(overtaken), publishing("1.2.3")},
		{"a higher version before the tag is written", nil, list(before("GET manifests/latest", 1, func(h *hub) { h.publish("1.3.0") })), publishing("1.2.3")},
		{"a higher version that has the tag already", nil, list(before(listing, 2, func(h *hub) { h.publish("1.3.0") })), publishing("1.2.3")},
		{"a higher version that is gone again", nil, list(overtaken, before("GET manifests/1.3.0", 1, func(h *hub) { h.drop("1.3.0") })), publishing("1.2.3")},
		{"a still higher version during the repair", nil, list(overtaken, before("GET manifests/1.3.0", 1, func(h *hub) { h.publish("1.4.0") })), publishing("1.2.3")},
		{"a lower version during the repair", seeded("1.2.2"), list(overtaken, before("GET manifests/1.3.0", 1, func(h *hub) {
			h.point("latest", double(h.t, "1.2.2"))
		})), publishing("1.2.3")},
		{"somebody else during the repair", nil, list(overtaken, before("GET manifests/1.3.0", 1, func(h *hub) { h.foreign("latest") })), publishing("1.2.3")},
		{"a tag that goes during the repair", nil, list(overtaken, before("GET manifests/1.3.0", 1, func(h *hub) { h.drop("latest") })), publishing("1.2.3")},
		{"a lower version meanwhile", seeded("1.2.1", "1.2.2"), list(before(listing, 2, func(h *hub) { h.point("1", double(h.t, "1.2.1")) })), publishing("1.2.3")},
		{"somebody else before the tag is written", nil, list(before("GET manifests/latest", 1, func(h *hub) { h.foreign("latest") })), publishing("1.2.3")},
		{"somebody else after the tag was written", nil, list(before(listing, 2, func(h *hub) { h.foreign("latest") })), publishing("1.2.3")},
		{"somebody else's tag that stays where it was", nil, list(before("GET manifests/latest", 1, func(h *hub) { h.foreign("latest") }), before(listing, 2, func(h *hub) { h.foreign("latest") })), publishing("1.2.3")},
		{"the same image meanwhile", nil, list(before("GET manifests/1.2", 1, func(h *hub) { h.publish("1.2.3") })), publishing("1.2.3")},
		{"another image of the version meanwhile", nil, list(before("GET manifests/1.2.3", 2, func(h *hub) {
			h.point("1.2.3", h.name(otherImage(h), "1.2.3 of another run"))
		})), publishing("1.2.3")},
		{"another image of the version has a floating tag", nil, list(before(listing, 2, func(h *hub) {
			h.point("latest", h.name(otherImage(h), "1.2.3 of another run"))
		})), publishing("1.2.3")},
		{"another image of the version in the end", nil, list(before(listing, 2, func(h *hub) {
			h.point("1.2.3", h.name(otherImage(h), "1.2.3 of another run"))
		})), publishing("1.2.3")},
		{"the version's tag is deleted", nil, list(before(listing, 2, func(h *hub) { h.drop("1.2.3") })), publishing("1.2.3")},
		{"a floating tag is deleted", nil, list(before(listing, 2, func(h *hub) { h.drop("latest") })), publishing("1.2.3")},
		{"a floating tag that stays where it was", seeded("1.2.2"), list(before(listing, 2, func(h *hub) { h.point("latest", double(h.t, "1.2.2")) })), publishing("1.2.3")},
		{"a floating tag comes late", seeded("1.2.2"), list(before(listing, 2, func(h *hub) { h.point("latest", double(h.t, "1.2.2")) }),
			before("HEAD manifests/latest", 4, func(h *hub) { h.point("latest", double(h.t, "1.2.3")) })), publishing("1.2.3")},

		{"a higher version without a tag of its own", nil, list(before(listing, 2, func(h *hub) { h.publish("1.3.0"); h.drop("1.3.0") })), publishing("1.2.3")},
		{"a higher version that has no such tag", seeded("1.3.0"), list(before(listing, 2, func(h *hub) { h.point("1.2", double(h.t, "1.3.0")); h.drop("1.3.0") })), publishing("1.2.3")},
		{"a repair that is refused", nil, list(overtaken, instead(latest, 2, 403, "")), publishing("1.2.3")},
		{"a repair that can't be looked at", nil, list(overtaken, instead("HEAD manifests/latest", 1, 403, ""), instead("GET manifests/latest", 2, 403, "")), publishing("1.2.3")},

		{"a write that fails once", nil, list(instead("PUT manifests/1.2.3", 1, 500, ""), instead(latest, 1, 503, "")), publishing("1.2.3")},
		{"a write that fails for good", nil, list(instead("PUT manifests/1.2", 1, 500, ""), instead("PUT manifests/1.2", 2, 500, ""), instead("PUT manifests/1.2", 3, 500, "")), publishing("1.2.3")},
		{"a write that fails and took effect", nil, list(&event{"PUT manifests/1.2.3", 1, func(h *hub) *http.Response {
			h.point("1.2.3", double(h.t, "1.2.3"))
			return respond(502, "")
		}}, &event{"PUT manifests/latest", 1, func(h *hub) *http.Response {
			h.point("latest", double(h.t, "1.2.3"))
			return respond(400, "")
		}}), publishing("1.2.3")},
		{"a write that fails while another run publishes", nil, list(&event{latest, 1, func(h *hub) *http.Response {
			h.publish("1.3.0")
			return respond(500, "")
		}}), publishing("1.2.3")},
		{"a failed write that can't be looked at", nil, list(instead(latest, 1, 400, ""), instead("GET manifests/latest", 2, 403, "")), publishing("1.2.3")},
	}
}

// sameBases compares the base images of an index with those of the published image.
func sameBases(r *oci.Repository, index v1.ImageIndex) (string, error) {
	before, err := oci.ReadPublished(context.Background(), "1.2.3", r)
	if err != nil {
		return "", err
	}
	pins, err := oci.PinsOf(index)
	return fmt.Sprintln("same base images:", before.SameBases(pins)), err
}

// otherImage is another image of the version 1.2.3.
func otherImage(h *hub) v1.ImageIndex {
	return mutate.Annotations(double(h.t, "1.2.3"), map[string]string{"org.example": "another"}).(v1.ImageIndex)
}

// surveys are what is missing of candidates, and which tags they get.
func surveys() []scenario {
	survey := func(all ...string) func(*hub, *oci.Repository) (string, error) {
		return func(_ *hub, r *oci.Repository) (string, error) {
			before := r.Stats()
			survey := oci.MissingFrom(context.Background(), candidates(r, all...)...)
			after := r.Stats()
			var text strings.Builder
			for i, missing := range survey {
				for _, lack := range missing {
					fmt.Fprintf(&text, "%s lacks: %s\n", all[i], lack)
				}
			}
			fmt.Fprintf(&text, "%d requests, %d retries\n", after.Requests-before.Requests, after.Retries-before.Retries)
			return text.String(), nil
		}
	}
	lost := func(references ...string) func(*hub) {
		return func(h *hub) {
			h.publish("1.2.2", "1.2.3")
			for _, r := range references {
				h.drop(r)
			}
		}
	}
	return []scenario{
		{"survey: nothing is missing", lost(), nil, survey("1.2.3", "1.2.2")},
		{"survey: everything is missing", nil, nil, survey("1.2.3", "1.2.2")},
		{"survey: floating tags are missing", lost("latest", "1.2"), nil, survey("1.2.3")},
		{"survey: an image is missing", func(h *hub) {
			lost()(h)
			h.drop(must(double(h.t, "1.2.3").IndexManifest()).Manifests[1].Digest.String())
		}, nil, survey("1.2.3", "1.2.2")},
		{"survey: a tag that goes", lost(), list(before("GET manifests/1.2.3", 1, func(h *hub) { h.drop("1.2.3") })), survey("1.2.3")},
		{"survey: floating tags that go", lost(), list(before("HEAD manifests/latest", 1, func(h *hub) { h.drop("latest") })), survey("1.2.3")},
		{"survey: somebody else's tags", func(h *hub) { lost()(h); h.foreign("latest"); h.foreign("1.2.2") }, nil, survey("1.2.3", "1.2.2")},
		{"survey: a lower version has a tag", func(h *hub) { lost()(h); h.point("latest", double(h.t, "1.2.2")) }, nil, survey("1.2.3")},
		{"survey: a higher version has the tag, whose own is gone", func(h *hub) { h.publish("1.2.2", "1.2.3"); h.drop("1.2.3") }, nil, survey("1.2.2")},
		{"survey: a higher version has a tag that isn't its own", func(h *hub) { h.publish("1.2.2", "1.3.0"); h.drop("1.3.0"); h.point("1.2", double(h.t, "1.3.0")) }, nil, survey("1.2.2")},
		{"explain", lost(), nil, func(_ *hub, r *oci.Repository) (string, error) {
			return oci.Explain(context.Background(), candidates(r, "1.2.3", "1.2.2")[1])
		}},
		{"explain without floating tags", lost(), nil, func(_ *hub, r *oci.Repository) (string, error) {
			no := false
			return oci.Explain(context.Background(), oci.Candidate{Repositories: []*oci.Repository{r},
				Release: &published.Release{Manifest: &manifest.Manifest{Version: "1.2.3", Image: &manifest.Image{Tags: &manifest.ImageTags{Floating: &no}}}}})
		}},
	}
}

// bundle is a release with bills of materials, and the publication of its image.
type bundle struct {
	release *release
	job     oci.Publication
	image   *oci.Image
}

// bundles are those that tests have made, by the test.
var bundles sync.Map

func bundleOf(t testing.TB) bundle {
	if made, ok := bundles.Load(t); ok {
		return made.(bundle)
	}
	b := bundle{release: billed(t, "1.2.3")}
	b.job, b.image = attaching(t, b.release)
	bundles.Store(t, b)
	return b
}

// withBills makes the release of a scenario have bills of materials, and publishes its
// image, and attaches them if asked to.
func withBills(publish, attach bool) func(*hub) {
	return func(h *hub) {
		b := bundleOf(h.t)
		h.release, h.image = b.release, b.image
		h.name(h.image.Index, "1.2.3")
		job := b.job
		if !attach {
			job.Attachments = nil
		}
		if publish {
			must(oci.Publish(context.Background(), job, h.other()))
		}
	}
}

// attachments are what is attached to images.
func attachments() []scenario {
	attach := publishing("1.2.3", func(h *hub, job *oci.Publication) {
		*job = bundleOf(h.t).job
	})
	verify := func(h *hub, r *oci.Repository) (string, error) {
		verified, err := oci.VerifyImage(context.Background(), h.release.load().Manifest, r, oci.VerifyOptions{Attached: true, SBOMs: true})
		if verified == nil {
			return "", err
		}
		return verified.Text(), err
	}
	survey := func(h *hub, r *oci.Repository) (string, error) {
		var text strings.Builder
		for _, lack := range oci.MissingFrom(context.Background(), oci.Candidate{Release: h.release.load(), Repositories: []*oci.Repository{r}})[0] {
			fmt.Fprintln(&text, lack)
		}
		return text.String(), nil
	}
	return []scenario{
		{"attach to a new image", withBills(false, false), nil, attach},
		{"attach to a published image", withBills(true, false), nil, attach},
		{"attach again", withBills(true, true), nil, attach},
		{"verify what is attached", withBills(true, true), nil, verify},
		{"verify what isn't attached", withBills(true, false), nil, verify},
		{"survey: everything is attached", withBills(true, true), nil, survey},
		{"survey: nothing is attached", withBills(true, false), nil, survey},
	}
}

const baseAddress = "registry.test/base/static"

// based publishes a base image, and a release's image that is made on it.
func based(edit ...func(*hub, *manifest.Image)) func(*hub) {
	return func(h *hub) {
		base := must(oci.NewRepository(baseAddress, serial(quiet{h})))
		index := h.name(baseIndex(h.t, "static", types.OCIManifestSchema1, "linux/amd64", "linux/arm64"), "base")
		must(oci.Publish(context.Background(), oci.Publication{Version: must(versionOf("0.1.0")), Index: index}, base))
		h.release = newRelease(h.t, "1.2.3", both...)
		h.release.manifest.Image.Base = baseAddress + ":latest"
		h.image = assembled(h.t, h.release.load(), oci.AssembleOptions{Bases: oci.RegistryBases(serial(quiet{h}))})
		h.name(h.image.Index, "1.2.3")
		must(oci.Publish(context.Background(), publication(h.image, "1.2.3"), h.other()))
		for _, e := range edit {
			e(h, h.release.manifest.Image)
		}
	}
}

// readings only read: they verify, assemble, and find out what was published.
func readings() []scenario {
	verify := func(edit ...func(*hub, *oci.VerifyOptions)) func(*hub, *oci.Repository) (string, error) {
		return func(h *hub, r *oci.Repository) (string, error) {
			o := oci.VerifyOptions{Bases: oci.RegistryBases(serial(h))}
			for _, e := range edit {
				e(h, &o)
			}
			verified, err := oci.VerifyImage(context.Background(), h.release.manifest, r, o)
			if verified == nil {
				return "", err
			}
			return verified.Digest + "\n" + verified.Text(), err
		}
	}
	current := func(_ *hub, o *oci.VerifyOptions) { o.CurrentBase = true }
	offline := func(_ *hub, o *oci.VerifyOptions) { o.Bases = nil }
	moved := based(func(h *hub, _ *manifest.Image) {
		base := must(oci.NewRepository(baseAddress, serial(quiet{h})))
		index := h.name(baseIndex(h.t, "newer", types.OCIManifestSchema1, "linux/amd64", "linux/arm64"), "newer base")
		must(oci.Publish(context.Background(), oci.Publication{Version: must(versionOf("0.2.0")), Index: index}, base))
	})
	fixed := func(name string) func(*hub) {
		return based(func(h *hub, i *manifest.Image) {
			for digest, known := range h.names {
				if known == name {
					i.Base += "@" + digest
				}
			}
		})
	}
	// One platform, so that requests come in their order.
	assemble := func(h *hub) (*oci.Image, error) {
		r := newRelease(h.t, "1.2.3", both[0])
		r.manifest.Image.Base = baseAddress + ":latest"
		return oci.Assemble(context.Background(), r.load(), oci.AssembleOptions{Bases: oci.RegistryBases(serial(h)), Dir: h.t.TempDir()})
	}
	published := func(p *oci.Published, err error) (string, error) {
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%+v\n", *p), nil
	}
	return []scenario{
		{"verify", based(), nil, verify(func(h *hub, o *oci.VerifyOptions) { o.Digest = h.image.Digest })},
		{"verify against another digest", based(), nil, verify(func(h *hub, o *oci.VerifyOptions) {
			o.Digest = must(h.name(otherImage(h), "another").Digest())
		})},
		{"verify a floating tag", based(), nil, verify(func(_ *hub, o *oci.VerifyOptions) { o.Reference = "latest" })},
		{"verify what isn't there", based(func(h *hub, _ *manifest.Image) { h.drop("1.2.3") }), nil, verify()},
		{"verify what is no index", based(func(h *hub, _ *manifest.Image) { h.foreign("1.2.3") }), nil, verify()},
		{"verify, the base image has moved", moved, nil, verify()},
		{"verify, the base image has to be current", moved, nil, verify(current)},
		{"verify, the base image is current", based(), nil, verify(current)},
		{"verify without the base image", based(), nil, verify(offline)},
		{"verify without the base image, which has to be current", based(), nil, verify(offline, current)},
		{"verify on a base image of a digest", fixed("<base>"), nil, verify()},
		{"verify on a base image of a platform's digest", fixed("<image 2 of base>"), nil, verify()},
		{"verify without the base image of a digest", fixed("<base>"), nil, verify(offline)},
		{"assemble", based(), nil, func(h *hub, _ *oci.Repository) (string, error) {
			image, err := assemble(h)
			if err != nil {
				return "", err
			}
			h.name(image.Index, "1.2.3 for one platform")
			return fmt.Sprintf("%s %+v\n", image.Digest, image.Platforms[0].Pinned), image.Close()
		}},
		{"assemble on a base image of the oldest kind", based(func(h *hub, _ *manifest.Image) {
			req := httptest.NewRequest(http.MethodPut, "https://registry.test/v2/base/static/manifests/latest", strings.NewReader(`{"schemaVersion":1}`))
			req.Header.Set("Content-Type", string(types.DockerManifestSchema1))
			h.inner.ServeHTTP(httptest.NewRecorder(), req)
		}), nil, func(h *hub, _ *oci.Repository) (string, error) {
			_, err := assemble(h)
			return "", err
		}},
		{"write a layout", based(), nil, func(h *hub, _ *oci.Repository) (string, error) {
			image, err := assemble(h)
			if err != nil {
				return "", err
			}
			defer image.Close()
			return "", oci.WriteLayout(h.t.TempDir(), image.Index, "1.2.3")
		}},
		{"read what was published", based(), nil, func(h *hub, r *oci.Repository) (string, error) {
			return published(oci.ReadPublished(context.Background(), "1.2.3", must(oci.NewRepository("registry.test/acme/empty", serial(h))), r))
		}},
		{"read what was not published", nil, nil, func(h *hub, r *oci.Repository) (string, error) {
			return published(oci.ReadPublished(context.Background(), "1.2.3", r))
		}},
		{"compare base images", based(), nil, func(h *hub, r *oci.Repository) (string, error) {
			return sameBases(r, h.image.Index)
		}},
		{"compare other base images", based(), nil, func(h *hub, r *oci.Repository) (string, error) {
			return sameBases(r, otherImage(h))
		}},
		{"read a digest", seeded("1.2.3"), nil, func(_ *hub, r *oci.Repository) (string, error) {
			digest, err := r.Digest(context.Background(), "1.2.3")
			return digest.String() + "\n", err
		}},
		{"read an index", seeded("1.2.3"), nil, func(_ *hub, r *oci.Repository) (string, error) {
			index, err := r.Index(context.Background(), "latest")
			if err != nil {
				return "", err
			}
			return must(index.Digest()).String() + "\n", nil
		}},
	}
}
