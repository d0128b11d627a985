package event_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/manifest"
)

func read(t testing.TB, name string) string {
	text, err := os.ReadFile("testdata/" + name + ".json")
	require.NoError(t, err)
	return string(text)
}

func TestParse(t *testing.T) {
	dispatched := event.Event{
		Repository: "acme/server", Tag: "server-0.8.0-rc.2", Source: event.SourceDispatch,
		Component: "server", Version: "0.8.0-rc.2", Channel: "rc", Commit: "f5350d99f5350d99f5350d99f5350d99f5350d99",
		ManifestSHA256: strings.Repeat("3", 64),
	}
	release := event.Event{Repository: "acme/server", Tag: "server-0.8.0-rc.2", Source: event.SourceRelease}
	promoted := release
	promoted.Released = true
	ran := event.Event{Repository: "acme/server", Tag: "server-0.8.0-rc.2", Source: event.SourceRun, Commit: "f5350d99f5350d99f5350d99f5350d99f5350d99"}
	workflow := event.Event{Repository: "acme/server", Tag: "server-0.8.0-rc.2", Source: event.SourceWorkflow}
	cases := []struct {
		name, file string
		replace    []string
		want       event.Event
	}{
		{"a published release", "release-published", nil, release},
		{"a released release", "release-published", []string{`"published"`, `"released"`}, promoted},
		{"our own event", "repository-dispatch", nil, dispatched},
		{"of a newer minor version", "repository-dispatch", []string{`"1.0"`, `"1.7", "new": {"x": [1]}`}, dispatched},
		{"a workflow with an input", "workflow-dispatch", nil, workflow},
		{"a workflow on a tag", "workflow-dispatch", []string{`"tag": "server-0.8.0-rc.2"`, `"tag": ""`, "refs/heads/main", "refs/tags/server-0.8.0-rc.2"}, workflow},
		{"a workflow without inputs", "workflow-dispatch", []string{`{"tag": "server-0.8.0-rc.2", "dry-run": "false"}`, "null", "refs/heads/main", "refs/tags/server-0.8.0-rc.2"}, workflow},
		{"a workflow's run", "workflow-run", nil, ran},
		{"a workflow's run by hand", "workflow-run", []string{`"push"`, `"workflow_dispatch"`}, ran},
		{"an input with spaces", "workflow-dispatch", []string{`"tag": "server`, `"tag": " server`}, workflow},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := event.Parse([]byte(strings.NewReplacer(c.replace...).Replace(read(t, c.file))), "Acme/Server")
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const release, dispatch, workflow, run = "release-published", "repository-dispatch", "workflow-dispatch", "workflow-run"
	other := "acme/other"
	cases := []struct {
		name, file string
		replace    []string
		expect     string
		want       error
		text       string
	}{
		{"a draft", release, []string{`"draft": false`, `"draft": true`}, "", event.ErrNotPublished, `"server-0.8.0-rc.2" is a draft`},
		{"no draft field", release, []string{`"draft": false,`, ``}, "", event.ErrFormat, "release.draft"},
		{"created", release, []string{`"published"`, `"created"`}, "", event.ErrNotPublished, `was "created"`},
		{"prereleased", release, []string{`"published"`, `"prereleased"`}, "", event.ErrNotPublished, `"prereleased"`},
		{"deleted", release, []string{`"published"`, `"deleted"`}, "", event.ErrNotPublished, `"deleted"`},
		{"an id that is none", release, []string{`193458671,`, `-1,`}, "", event.ErrFormat, "-1"},
		{"another repository", release, nil, other, event.ErrForeign, `"acme/server", not "acme/other"`},
		{"another repository's event", dispatch, nil, other, event.ErrForeign, `"acme/server", not "acme/other"`},
		{"a payload of another repository", dispatch, []string{`"repository": "acme/server"`, `"repository": "evil/server"`}, "", event.ErrForeign, `"evil/server"`},
		{"another program's event", dispatch, []string{`"gantry-release-published"`, `"deploy"`}, "", event.ErrForeign, `"deploy"`},
		{"no schema version", dispatch, []string{`"schema_version": "1.0",`, ``}, "", event.ErrFormat, "MAJOR.MINOR"},
		{"another version than its tag", dispatch, []string{`"0.8.0-rc.2"`, `"0.8.0-rc.3"`}, "", event.ErrFormat, "does not end in"},
		{"another channel", dispatch, []string{`"rc"`, `"stable"`}, "", event.ErrFormat, `"stable" is not the channel`},
		{"a short commit", dispatch, []string{`"f5350d99f5350d99f5350d99f5350d99f5350d99"`, `"f5350d9"`}, "", event.ErrFormat, `"f5350d9"`},
		{"a digest that is none", dispatch, []string{strings.Repeat("3", 64), "3"}, "", event.ErrFormat, "manifest_sha256"},
		{"a payload that is text", dispatch, []string{`"branch": "main",`, ``, `"client_payload": {`, `"client_payload": "x", "y": {`}, "", event.ErrFormat, "client_payload"},
		{"no tag", workflow, []string{`"tag"`, `"version"`}, "", event.ErrFormat, `"refs/heads/main"`},
		{"an input that isn't text", workflow, []string{`"tag": "server-0.8.0-rc.2"`, `"tag": 1`}, "", event.ErrFormat, "is 1, not text"},
		{"a tag that git refuses", workflow, []string{"server-0.8.0", "a..b"}, "", event.ErrFormat, `"a..b-rc.2"`},
		{"a tag that is an option", workflow, []string{"server-0.8.0", "--upload-pack=x"}, "", event.ErrFormat, "upload-pack"},
		{"a repository that is a path", workflow, []string{"acme/server", "acme/.."}, "", event.ErrFormat, `"acme/.."`},
		{"a field twice", workflow, []string{`"inputs":`, `"inputs": {"tag": "v9.9.9"}, "Inputs":`}, "", event.ErrFormat, `field "Inputs" appears twice`},
		{"a run that goes on", run, []string{`"action": "completed"`, `"action": "requested"`}, "", event.ErrUnrelated, `was "requested"`},
		{"a run that failed", run, []string{`"conclusion": "success"`, `"conclusion": "failure"`}, "", event.ErrUnrelated, `ended with "failure"`},
		{"a run for a fork", run, []string{"401234567,\n      \"full_name\": \"acme/server\"", "401234568,\n      \"full_name\": \"evil/server\""}, "", event.ErrUnrelated, "fork"},
		{"a run for a pull request", run, []string{`"event": "push"`, `"event": "pull_request"`}, "", event.ErrUnrelated, `"pull_request"`},
		{"a run on a branch", run, []string{`"head_branch": "server-0.8.0-rc.2"`, `"head_branch": "main"`}, "", event.ErrUnrelated, `"main", which is not the tag of a release`},
		{"a run on a branch with a number", run, []string{`"head_branch": "server-0.8.0-rc.2"`, `"head_branch": "release-1.2"`}, "", event.ErrUnrelated, `"release-1.2", which is not the tag of a release`},
		{"a run on four numbers", run, []string{`"head_branch": "server-0.8.0-rc.2"`, `"head_branch": "1.2.3.4"`}, "", event.ErrUnrelated, `"1.2.3.4", which is not the tag of a release`},
		{"a run on build metadata", run, []string{`"head_branch": "server-0.8.0-rc.2"`, `"head_branch": "v1.2.3+x"`}, "", event.ErrUnrelated, `"v1.2.3+x", which is not the tag of a release`},
		{"a run without a commit", run, []string{`"head_sha": "f5350d99`, `"head_sha": "`}, "", event.ErrFormat, "head_sha"},
		{"a workflow that is a number", workflow, []string{`".github/workflows/images.yml"`, `7`}, "", event.ErrFormat, `"workflow" is 7`},
		{"a push", workflow, []string{`"workflow"`, `"pusher"`}, "", event.ErrFormat, "neither"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := event.Parse([]byte(strings.NewReplacer(c.replace...).Replace(read(t, c.file))), c.expect)
			require.ErrorIs(t, err, c.want)
			assert.ErrorContains(t, err, c.text)
			// What another repository or a damaged file says is wrong; what a
			// workflow gets that listens to more than releases is not.
			skipped := errors.Is(err, event.ErrNotPublished) || c.want == event.ErrUnrelated ||
				slices.Contains([]string{"another program's event"}, c.name)
			assert.Equal(t, skipped, event.Skipped(err))
		})
	}
	// The largest event there may be is read, and says what is wrong with it.
	_, err := event.Parse(fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("x", event.MaxSize-8)), "")
	require.ErrorContains(t, err, `no field "repository"`)
	nested := func(n int) string {
		return strings.Replace(read(t, release), `"action"`, `"deep": `+strings.Repeat("[", n)+strings.Repeat("]", n)+`, "action"`, 1)
	}
	_, err = event.Parse([]byte(nested(64)), "")
	require.NoError(t, err)
	_, err = event.Parse([]byte(nested(65)), "")
	require.ErrorContains(t, err, "more than 64 levels")
	_, err = event.Parse([]byte(strings.Replace(read(t, release), `"action"`, `"x": {"y": {"a": 1, "A": 2}}, "action"`, 1)), "")
	require.NoError(t, err, "no field that is read")
	_, err = event.Parse([]byte(strings.Replace(read(t, release), `"action"`, `"x": {"a": 1, "A": 2}, "action"`, 1)), "")
	require.ErrorContains(t, err, "twice")
	for name, text := range map[string]string{
		"empty": "", "null": "null", "a list": "[]", "a page": "<html></html>", "cut off": read(t, release)[:500],
		"trailing data": read(t, release) + "{}", "not UTF-8": "{\"action\":\"\xff\"}", "no repository": `{"action":"published"}`,
		"deep":      strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
		"oversized": `{"a":"` + strings.Repeat("x", event.MaxSize) + `"}`,
	} {
		_, err := event.Parse([]byte(text), "")
		assert.ErrorIs(t, err, event.ErrFormat, name)
	}
	for _, schema := range []string{"2.0", "0.1"} {
		_, err := event.Parse([]byte(strings.Replace(read(t, dispatch), `"1.0"`, `"`+schema+`"`, 1)), "")
		var version *event.VersionError
		require.ErrorAs(t, err, &version)
		assert.Equal(t, schema, version.Got)
	}
}

func TestFromTag(t *testing.T) {
	for _, tag := range []string{"0.0.52", "server-0.7.0-rc1", "foreign/go/v0.9.0-edge.4", "v1.2.3", "iggy-iggy@0.2.1"} {
		e, err := event.FromTag("acme/server", tag)
		require.NoError(t, err)
		assert.Equal(t, event.Event{Repository: "acme/server", Tag: tag, Source: event.SourceTag}, e)
	}
	for _, tag := range []string{"", "-v1", "a b", "a..b", "a/", "/a", "a.lock", "a//b", "v1.0.0\n", "v1.0.0+x", strings.Repeat("1", 300)} {
		_, err := event.FromTag("acme/server", tag)
		assert.ErrorIs(t, err, event.ErrFormat, tag)
	}
	for _, repository := range []string{"octo_corp/server", "a/b", "a--b/" + strings.Repeat("x", 100), strings.Repeat("a", 39) + "/..x", "a/.github"} {
		_, err := event.FromTag(repository, "v1.0.0")
		assert.NoError(t, err, repository)
	}
	for tag, ok := range map[string]bool{strings.Repeat("1", 255): true, strings.Repeat("1", 256): false, "_1": true, "a@1": true, "1-": false, "a/./b": false} {
		_, err := event.FromTag("acme/server", tag)
		assert.Equal(t, ok, err == nil, "%s: %v", tag, err)
	}
	for _, repository := range []string{"_acme/server", strings.Repeat("a", 40) + "/x", "a/" + strings.Repeat("x", 101), "a/...", "a/x y", "", "acme", "acme/", "/server", "acme/server/x", "https://github.com/acme/server", "acme/.", "a b/c"} {
		_, err := event.FromTag(repository, "v1.0.0")
		assert.ErrorIs(t, err, event.ErrFormat, repository)
	}
}

func example(t testing.TB) (*manifest.Manifest, string) {
	text, err := os.ReadFile("../manifest/testdata/example.json")
	require.NoError(t, err)
	m, err := manifest.Parse(text)
	require.NoError(t, err)
	return m, strings.Repeat("3", 64)
}

// payload returns the payload that an event has.
func payload(e event.Event) event.Payload {
	return event.Payload{
		SchemaVersion: event.SchemaVersion, Repository: e.Repository, Tag: e.Tag, Component: e.Component,
		Version: e.Version, Channel: e.Channel, Commit: e.Commit, ManifestSHA256: e.ManifestSHA256,
	}
}

func TestPayload(t *testing.T) {
	m, digest := example(t)
	p, err := event.NewPayload("acme/server", m, digest)
	require.NoError(t, err)
	for _, id := range []int64{0, 193458671} {
		p.ReleaseID = id
		text, err := json.Marshal(p)
		require.NoError(t, err)
		var fields map[string]any
		require.NoError(t, json.Unmarshal(text, &fields))
		assert.LessOrEqual(t, len(fields), 10, "GitHub's limit")
		assert.LessOrEqual(t, len(event.EventType), 100, "GitHub's limit")

		body, err := json.Marshal(map[string]any{"action": event.EventType, "client_payload": p, "repository": map[string]any{"full_name": "acme/server"}})
		require.NoError(t, err)
		e, err := event.Parse(body, "acme/server")
		require.NoError(t, err)
		p.ReleaseID = 0
		assert.Equal(t, p, payload(e))
		assert.NoError(t, e.Match(m, digest))
	}
	_, err = event.NewPayload("acme", m, digest)
	require.ErrorIs(t, err, event.ErrFormat)
	_, err = event.NewPayload("acme/server", m, "")
	require.ErrorIs(t, err, event.ErrFormat)
}

func TestMatch(t *testing.T) {
	m, digest := example(t)
	p, err := event.NewPayload("acme/server", m, digest)
	require.NoError(t, err)
	body, err := json.Marshal(map[string]any{"action": event.EventType, "client_payload": p, "repository": map[string]any{"full_name": "acme/server"}})
	require.NoError(t, err)
	e, err := event.Parse(body, "")
	require.NoError(t, err)
	for name, change := range map[string]func(*manifest.Manifest){
		"tag":        func(m *manifest.Manifest) { m.Tag = "server-0.8.0" },
		"repository": func(m *manifest.Manifest) { m.Repository = "https://github.com/evil/server" },
		"component":  func(m *manifest.Manifest) { m.Component = "cli" },
		"version":    func(m *manifest.Manifest) { m.Version = "0.8.0" },
		"commit":     func(m *manifest.Manifest) { m.Commit = strings.Repeat("0", 40) },
	} {
		changed := *m
		change(&changed)
		err := e.Match(&changed, digest)
		require.ErrorIs(t, err, event.ErrForeign, name)
		assert.ErrorContains(t, err, name)
	}
	require.ErrorIs(t, e.Match(m, strings.Repeat("4", 64)), event.ErrForeign)
	moved := *m
	moved.Repository = "https://github.com/old/name"
	var other *event.RepositoryError
	require.ErrorAs(t, e.Match(&moved, digest), &other)
	assert.Equal(t, event.RepositoryError{Where: manifest.FileName, Got: "old/name", Want: "acme/server"}, *other)
	for _, home := range []string{"", "https://github.com/Acme/server.git", "https://github.com/acme/server/tree/main/crates/server"} {
		changed := *m
		changed.Repository = home
		assert.NoError(t, e.Match(&changed, digest), home)
	}
}

// What is accepted names one tag of one repository, and says the same when it
// is sent on.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"release-published", "repository-dispatch", "workflow-dispatch", "workflow-run"} {
		f.Add([]byte(read(f, name)))
	}
	f.Add([]byte(`{"repository":{"full_name":"a/b"},"workflow":"x","ref":"refs/tags/v1"}`))
	f.Add([]byte(`{"repository":{"full_name":"a/b"},"action":"published","release":{"id":1,"draft":false,"tag_name":"v1"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := event.Parse(data, "")
		if err != nil {
			assert.Zero(t, e)
			return
		}
		_, err = event.FromTag(e.Repository, e.Tag)
		require.NoError(t, err)
		_, err = event.Parse(data, e.Repository+"x")
		require.ErrorIs(t, err, event.ErrForeign)
		if e.Source != event.SourceDispatch {
			return
		}
		body, err := json.Marshal(map[string]any{"action": event.EventType, "client_payload": payload(e), "repository": map[string]any{"full_name": e.Repository}})
		require.NoError(t, err)
		again, err := event.Parse(body, "")
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}
