package event_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/event"
)

// Each refusal has its own reason: a later check must not be what catches it.
func TestParseNamesTheReason(t *testing.T) {
	text := read(t, "release-published")
	padded := func(size int) string { return text + strings.Repeat(" ", size-len(text)) }
	nested := func(levels int) string {
		return strings.Replace(text, "{", `{"x": `+strings.Repeat(`{"a":`, levels-1)+"1"+strings.Repeat("}", levels-1)+",", 1)
	}
	for name, c := range map[string]struct{ data, want string }{
		"too large":             {padded(event.MaxSize + 1), "bytes"},
		"not UTF-8":             {strings.Replace(text, "{", "{\"x\": \"\xff\",", 1), "UTF-8"},
		"empty":                 {" \n", "empty"},
		"a list":                {"[" + text + "]", "object"},
		"trailing data":         {text + text, "data after the JSON object"},
		"too deep":              {nested(65), "levels"},
		"a key that is no text": {strings.Replace(text, "{", "{1: 2,", 1), "invalid character '1'"},
		"a value that is none":  {strings.Replace(text, "{", `{"x": y,`, 1), "invalid character 'y'"},
		"a wrong type":          {`{"repository": 1}`, "repository"},
		"twice by case below":   {strings.Replace(text, `"draft"`, `"Draft": true, "draft"`, 1), "twice"},
		"release 0":             {strings.Replace(text, "193458671,", "0,", 1), "release id 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := event.Parse([]byte(c.data), "")
			require.ErrorIs(t, err, event.ErrFormat)
			assert.ErrorContains(t, err, c.want)
		})
	}
	for i := range strings.TrimSpace(text) {
		if i == 0 {
			continue
		}
		_, err := event.Parse([]byte(text[:i]), "")
		require.ErrorIs(t, err, event.ErrFormat)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "the first %d bytes", i)
	}

	for name, data := range map[string]string{
		"as large as may be":                              padded(event.MaxSize),
		"as deep as may be":                               nested(64),
		"a number beyond floating point":                  strings.Replace(text, "{", `{"x": 1e999,`, 1),
		"names that differ by case where nothing is read": strings.Replace(text, "{", `{"x": {"y": {"z": 1, "Z": 2}},`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := event.Parse([]byte(data), "")
			assert.NoError(t, err)
		})
	}
}

func TestPayloadRefuses(t *testing.T) {
	dispatch := read(t, "repository-dispatch")
	for name, c := range map[string]struct {
		old, new string
		want     string
	}{
		"a version that is none":  {`"version": "0.8.0-rc.2"`, `"version": "0.8"`, `0.8`},
		"a version with a v":      {`"version": "0.8.0-rc.2"`, `"version": "v0.8.0-rc.2"`, "leading v"},
		"a version with metadata": {`"version": "0.8.0-rc.2"`, `"version": "0.8.0-rc.2+b1"`, "build metadata"},
		"a negative release":      {"193458671", "-1", "release_id"},
		"a repository":            {`"repository": "acme/server"`, `"repository": "acme"`, `client_payload: not a valid event: repository "acme"`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.ReplaceAll(dispatch, c.old, c.new)
			if c.want == "leading v" {
				changed = strings.ReplaceAll(changed, "server-0.8.0-rc.2", "server-v0.8.0-rc.2")
			}
			require.NotEqual(t, dispatch, changed)
			_, err := event.Parse([]byte(changed), "")
			require.ErrorIs(t, err, event.ErrFormat)
			assert.ErrorContains(t, err, c.want)
		})
	}

	m, digest := example(t)
	changed := *m
	changed.Tag = "a.." + m.Tag
	_, err := event.NewPayload("acme/server", &changed, digest)
	require.ErrorIs(t, err, event.ErrFormat)
	assert.ErrorContains(t, (&event.VersionError{Got: "2.0"}), "reads 1.x", "any minor version")
}

// An event that names only the tag is one of any manifest of that tag, and a
// home that names no repository is not compared.
func TestMatchComparesWhatIsKnown(t *testing.T) {
	m, digest := example(t)
	e, err := event.FromTag("acme/server", m.Tag)
	require.NoError(t, err)
	assert.NoError(t, e.Match(m, digest))
	for _, home := range []string{"https://[::1", "https://example.org", "https://example.org/server", "https://example.org//"} {
		changed := *m
		changed.Repository = home
		assert.NoError(t, e.Match(&changed, digest), home)
	}
	changed := *m
	changed.Repository = "https://github.com/evil/server"
	assert.ErrorIs(t, e.Match(&changed, digest), event.ErrForeign)
}
