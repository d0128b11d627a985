package github

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/fakehub"
)

// signed is a release with a signature of its SHA256SUMS.
func (w *world) signed(key *attest.Key, tag string) Spec {
	w.t.Helper()
	spec := w.spec(tag)
	sums := bytesOf("sums"+tag, 200)
	text, err := key.SignFile(context.Background(), sums)
	require.NoError(w.t, err)
	signature := file(attest.SignatureName, text)
	signature.Equivalent = func(text []byte) error {
		return attest.Release{SumsText: sums}.CheckSignature(context.Background(), key.Public(), text)
	}
	spec.Assets = append(spec.Assets, signature)
	spec.Signatures = map[string]string{attest.SignatureName: "SHA256SUMS"}
	return spec
}

// earlier is a signature of the same file by the same key, in other bytes.
func earlier(t tb, key *attest.Key, tag string) []byte {
	t.Helper()
	text, err := key.SignFile(context.Background(), bytesOf("sums"+tag, 200))
	require.NoError(t, err)
	return append(text, " \n"...)
}

func newKey(t testing.TB) *attest.Key {
	t.Helper()
	key, err := attest.NewKey()
	require.NoError(t, err)
	return key
}

// halfSigned sets up a draft that an earlier run left: one archive, the checksums and
// a signature that serves as well as the one of the spec.
func halfSigned(t testing.TB, key *attest.Key, cfg fakehub.Config) (*world, Spec) {
	w := newWorld(t, cfg)
	w.repo.AnnotatedTag("v1.2.0", w.commit)
	spec := w.signed(key, "v1.2.0")
	w.repo.Seed(fakehub.Seed{Tag: "v1.2.0", Commit: w.commit, Title: "v1.2.0", Body: "What changed.", Draft: true, Files: []fakehub.File{
		{Name: spec.Assets[0].Name, Data: bytesOf("x86_64v1.2.0", 3000)},
		{Name: "SHA256SUMS", Data: bytesOf("sumsv1.2.0", 200)},
		{Name: attest.SignatureName, Data: earlier(w.t, key, "v1.2.0")},
	}})
	return w, spec
}

// Every call of completing a signed release, times every fault: the release completes
// in the same state, the earlier signature stays, and a second run sends nothing.
func TestSignedTimesEveryFault(t *testing.T) {
	key := newKey(t)
	var calls []fakehub.Call
	var want string
	synctest.Test(t, func(t *testing.T) {
		w, spec := halfSigned(t, key, fakehub.Config{})
		_, err := w.client(serial).Release(t.Context(), spec)
		require.NoError(t, err)
		calls, want = w.hub.Calls(), w.hub.Dump()
	})
	uploaded, downloads := 0, 0
	for _, c := range calls {
		if c.Op == "upload asset" && uploaded == 0 {
			uploaded = c.N
		}
		if c.Op == "get asset" {
			downloads++
		}
	}
	require.NotZero(t, uploaded)
	require.Equal(t, 1, downloads, "the earlier signature is read once: %v", calls)
	cells := 0
	for _, f := range transient {
		for _, at := range calls {
			if !applies(f.kind, at, uploaded) {
				continue
			}
			cells++
			cell := fmt.Sprintf("call %d (%s), %s, http2=%t", at.N, at.Op, f.kind, f.http2)
			synctest.Test(t, func(t *testing.T) {
				w, spec := halfSigned(t, key, fakehub.Config{})
				w.hub.Arm(fakehub.Fault{Kind: f.kind, N: at.N})
				options := []func(*Options){serial}
				if f.http2 {
					options = append(options, overHTTP2(w))
				}
				_, err := w.client(options...).Release(t.Context(), spec)
				require.Equal(t, 1, w.hub.FaultsMet(), cell)
				require.NoError(t, err, cell)
				require.Equal(t, want, w.hub.Dump(), cell)
				kept, _ := w.repo.Asset("v1.2.0", attest.SignatureName)
				require.Equal(t, earlier(t, key, "v1.2.0"), kept, cell)
				rep, err := w.client(serial).Release(t.Context(), spec)
				require.NoError(t, err, cell)
				require.Zero(t, rep.Writes, cell)
				require.Zero(t, rep.BytesSent, cell)
			})
		}
	}
	t.Logf("%d calls, %d cells", len(calls), cells)
	require.Greater(t, cells, 300)
}

// Without digests of the server, an earlier signature is read and stays, too.
func TestSignedWithoutDigests(t *testing.T) {
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		w, spec := halfSigned(t, key, fakehub.Config{NoDigests: true})
		w.keepsSignature(t, key, spec)
	})
}

// keepsSignature completes the release of halfSigned, whose earlier signature stays, and
// again, which writes nothing.
func (w *world) keepsSignature(t *testing.T, key *attest.Key, spec Spec) {
	t.Helper()
	_, err := w.client(serial).Release(t.Context(), spec)
	require.NoError(t, err)
	kept, _ := w.repo.Asset("v1.2.0", attest.SignatureName)
	require.Equal(t, earlier(t, key, "v1.2.0"), kept)
	rep, err := w.client(serial).Release(t.Context(), spec)
	require.NoError(t, err)
	require.Zero(t, rep.Writes)
}

// A signed release from nothing: it is stored as it was sent, also where the server has
// no digests or stores something else at first.
func TestSignedFromNothing(t *testing.T) {
	key := newKey(t)
	for _, cfg := range []fakehub.Config{{}, {NoDigests: true}} {
		for n := 1; n <= 4; n++ {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, cfg)
				spec := w.signed(key, "v1.0.0")
				w.hub.Arm(fakehub.Fault{Kind: fakehub.StoredWrong, N: n, Match: opIs("upload asset")})
				_, err := w.client(serial).Release(t.Context(), spec)
				require.NoError(t, err)
				w.neverIncomplete(spec)
				rep, err := w.client(serial).Release(t.Context(), spec)
				require.NoError(t, err)
				require.Zero(t, rep.Writes)
			})
		}
	}
}

// What a release has decides: a signature by the same key stays in every mode, one that
// does not verify is an error or replaced, and no signature stays or comes beside
// checksums that it doesn't sign.
func TestSignatureOnRelease(t *testing.T) {
	key, other := newKey(t), newKey(t)
	own, err := key.SignFile(t.Context(), bytesOf("sumsv1.0.0", 200))
	require.NoError(t, err)
	theirs, err := other.SignFile(t.Context(), bytesOf("sumsv1.0.0", 200))
	require.NoError(t, err)
	same := earlier(t, key, "v1.0.0")
	sums, otherSums := bytesOf("sumsv1.0.0", 200), bytesOf("another", 200)
	for name, c := range map[string]struct {
		signature, sums []byte
		draft, unsigned bool
		existing        Existing
		says            string // the error, or in the report
		has             []byte // in the end
		fails           bool
	}{
		"the same":             {signature: own, sums: sums, says: "0 writes", has: own},
		"an earlier one":       {signature: same, sums: sums, says: "0 writes", has: same},
		"an earlier one, kept": {signature: same, sums: sums, existing: ExistingReplace, says: "0 writes", has: same},
		"of another key": {signature: theirs, sums: sums, fails: true, has: theirs,
			says: "the published release has a different SHA256SUMS.sigstore.json: it is signed with another key"},
		"of another key, replaced":              {signature: theirs, sums: sums, existing: ExistingReplace, says: "replace SHA256SUMS.sigstore.json", has: own},
		"of another key, in a draft":            {signature: theirs, sums: sums, draft: true, fails: true, says: "the draft has a different SHA256SUMS.sigstore.json"},
		"none":                                  {sums: sums, fails: true, says: "the published release lacks SHA256SUMS.sigstore.json: pass --existing=fill to add it"},
		"none, added":                           {sums: sums, existing: ExistingFill, says: "upload SHA256SUMS.sigstore.json", has: own},
		"none, beside other checksums":          {sums: otherSums, existing: ExistingFill, fails: true, says: "the published release keeps a different SHA256SUMS, which SHA256SUMS.sigstore.json would not sign: pass --existing=replace"},
		"a run without a key":                   {signature: same, sums: sums, unsigned: true, says: "has SHA256SUMS.sigstore.json, which is not part of this release: kept", has: same},
		"a run without a key replaces the rest": {signature: same, sums: otherSums, unsigned: true, existing: ExistingReplace, fails: true, has: same, says: "the published release has SHA256SUMS.sigstore.json, which signs the SHA256SUMS that would be replaced: sign it again (--signing-key or --oidc-request-url)"},
		"other checksums, all replaced":         {signature: theirs, sums: otherSums, existing: ExistingReplace, says: "replace SHA256SUMS.sigstore.json", has: own},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakehub.Config{})
				spec := w.signed(key, "v1.0.0")
				spec.Existing = c.existing
				files := []fakehub.File{
					{Name: spec.Assets[0].Name, Data: bytesOf("x86_64v1.0.0", 3000)}, {Name: spec.Assets[1].Name, Data: bytesOf("aarch64v1.0.0", 2000)},
					{Name: "SHA256SUMS", Data: c.sums},
				}
				if c.signature != nil {
					files = append(files, fakehub.File{Name: attest.SignatureName, Data: c.signature})
				}
				if c.unsigned {
					spec.Assets = spec.Assets[:3]
				}
				w.repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: w.commit, Title: "v1.0.0", Body: "What changed.", Draft: c.draft, Latest: !c.draft, Files: files})
				before := w.hub.Dump()
				rep, err := w.client(serial).Release(t.Context(), spec)
				if c.fails {
					require.ErrorContains(t, err, c.says)
					assert.Equal(t, before, w.hub.Dump(), "it was changed")
				} else {
					require.NoError(t, err)
					assert.Contains(t, rep.Text(), c.says)
				}
				if !c.draft {
					got, _ := w.repo.Asset("v1.0.0", attest.SignatureName)
					assert.Equal(t, string(c.has), string(got))
				}
			})
		})
	}
}

// A signature that differs with each run is not made if GitHub has one that will do: the
// run looks for it first, and keeps it.
func TestSignatureNotMade(t *testing.T) {
	key, other := newKey(t), newKey(t)
	synctest.Test(t, func(t *testing.T) {
		w, spec := halfSigned(t, key, fakehub.Config{})
		last := len(spec.Assets) - 1
		require.Equal(t, attest.SignatureName, spec.Assets[last].Name)
		plan, err := w.client(serial).Preflight(t.Context(), spec)
		require.NoError(t, err)
		found, err := w.client(serial).Content(t.Context(), spec, plan, attest.SignatureName)
		require.NoError(t, err)
		require.Equal(t, earlier(t, key, "v1.2.0"), found)
		for _, name := range []string{"notes.txt", spec.Assets[1].Name} {
			found, err = w.client(serial).Content(t.Context(), spec, plan, name)
			require.NoError(t, err)
			require.Nil(t, found, name)
		}

		made := spec.Assets[last]
		spec.Assets[last] = Asset{Name: made.Name, Equivalent: made.Equivalent}
		w.keepsSignature(t, key, spec)

		spec.Assets[last].Equivalent = func(text []byte) error {
			return attest.Release{SumsText: bytesOf("sumsv1.2.0", 200)}.CheckSignature(t.Context(), other.Public(), text)
		}
		_, err = w.client(serial).Release(t.Context(), spec)
		require.ErrorContains(t, err, "the published release has a different SHA256SUMS.sigstore.json: it is signed with another key")
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		spec := w.signed(key, "v1.0.0")
		plan, err := w.client(serial).Preflight(t.Context(), spec)
		require.NoError(t, err)
		found, err := w.client(serial).Content(t.Context(), spec, plan, attest.SignatureName)
		require.NoError(t, err)
		require.Nil(t, found)
		last := len(spec.Assets) - 1
		spec.Assets[last].Open, spec.Assets[last].SHA256 = nil, ""
		_, err = w.client(serial).Release(t.Context(), spec)
		require.ErrorContains(t, err, `"SHA256SUMS.sigstore.json" was there when this run looked for it, and is gone: run it again`)
	})
}
