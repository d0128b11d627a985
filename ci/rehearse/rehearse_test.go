package rehearse

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
)

const commit = "1111111111111111111111111111111111111111"

func stage(t *testing.T, faults Faults) *Stage {
	t.Helper()
	s, err := New("rehearsal", "app", "v1.0.0", commit, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), faults)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// spec is a release of some files.
func spec(files int) github.Spec {
	s := github.Spec{
		Owner: "rehearsal", Repo: "app", Tag: "v1.0.0", Commit: commit, Title: "v1.0.0", Notes: "notes", OwnsLatest: true, Existing: "strict",
		VersionOf: func(tag string) (*semver.Version, bool) {
			v, err := semver.NewVersion(strings.TrimPrefix(tag, "v"))
			return v, err == nil
		},
		Dispatch: &github.Dispatch{EventType: "released", Payload: map[string]string{"tag": "v1.0.0"}},
	}
	for i := range files {
		content := bytes.Repeat([]byte{byte(i)}, 1000)
		sum := sha256.Sum256(content)
		s.Assets = append(s.Assets, github.Asset{
			Name: fmt.Sprintf("file-%d", i), Size: 1000, SHA256: hex.EncodeToString(sum[:]), ContentType: "application/octet-stream",
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		})
	}
	return s
}

// The fake GitHub fails as much as it is told to, and a release gets through.
func TestFaultsOfGitHub(t *testing.T) {
	before := -1
	for _, faults := range []Faults{None, Light, Heavy} {
		s := stage(t, faults)
		client, err := github.New(s.GitHub())
		require.NoError(t, err)
		_, err = client.Release(t.Context(), spec(8))
		require.NoError(t, err, faults)
		met, _ := s.Failures()
		t.Logf("%s: %d faults", faults, met)
		assert.Greater(t, met, before, faults)
		before = met
		sent, err := s.Event()
		require.NoError(t, err)
		assert.JSONEq(t, `{"action":"released","client_payload":{"tag":"v1.0.0"},"repository":{"full_name":"rehearsal/app"}}`, string(sent))
		released := s.State()
		same := spec(8)
		same.Dispatch = nil // each run that is asked to sends one
		again, err := client.Release(t.Context(), same)
		require.NoError(t, err, faults)
		assert.Zero(t, again.BytesSent)
		assert.Equal(t, released, s.State(), faults)
	}
	assert.GreaterOrEqual(t, before, len(lightFaults)+3, "heavy faults are many")
}

// So does the fake registry.
func TestFaultsOfTheRegistry(t *testing.T) {
	before := -1
	for _, faults := range []Faults{None, Light, Heavy} {
		s := stage(t, faults)
		index, err := random.Index(1000, 2, 2)
		require.NoError(t, err)
		repository, err := oci.NewRepository(s.Registry+"/"+s.Repository, s.Images())
		require.NoError(t, err)
		publication := oci.Publication{Version: semver.MustParse("1.0.0"), Index: index}
		for _, content := range []string{"a bill of materials", "a provenance", "a signature"} {
			publication.Attachments = append(publication.Attachments, oci.Attachment{
				ArtifactType: "text/plain", Name: content, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(content))), Size: int64(len(content)),
				Read: func(context.Context) ([]byte, error) { return []byte(content), nil },
			})
		}
		_, err = oci.Publish(t.Context(), publication, repository)
		require.NoError(t, err, faults)
		again, err := oci.Publish(t.Context(), publication, repository)
		require.NoError(t, err, faults)
		assert.Zero(t, again.Repositories[0].BytesPushed, faults)
		_, met := s.Failures()
		t.Logf("%s: %d faults", faults, met)
		assert.Greater(t, met, before, faults)
		before = met
	}
}

func TestUnknownFaults(t *testing.T) {
	_, err := New("rehearsal", "app", "v1.0.0", commit, time.Now(), "medium")
	require.ErrorContains(t, err, `faults "medium" are unknown: pass none, light or heavy`)
}

func TestReport(t *testing.T) {
	var r Report
	r.Add("first:", "a\nb\n")
	r.Add("second", "")
	assert.Equal(t, "first:\n  a\n  b\nsecond\n", r.Text())
}
