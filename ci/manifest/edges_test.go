package manifest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each rule that compares fields has a document that breaks nothing else.
func TestValidateComparesFields(t *testing.T) {
	archive := func(m *Manifest) *Asset { return &m.Assets[1] }
	for name, c := range map[string]struct {
		change func(m *Manifest)
		field  string
		says   string
	}{
		"no assets":                {func(m *Manifest) { m.Assets = nil }, "assets", "at least one"},
		"name twice":               {func(m *Manifest) { m.Assets[0].Name = m.Assets[4].Name }, "assets[4].name", "is taken by"},
		"name twice by case":       {func(m *Manifest) { m.Assets[4].Name = "changelog.MD" }, "assets[4].name", `is taken by "CHANGELOG.md"`},
		"the manifest's name":      {func(m *Manifest) { m.Assets[4].Name = "Release-Manifest.json" }, "assets[4].name", FileName},
		"the checksums' name":      {func(m *Manifest) { m.Assets[4].Name = "sha256sums" }, "assets[4].name", SumsName},
		"two archives of a target": {func(m *Manifest) { m.Assets[2].Target = m.Assets[1].Target }, "assets[2].target", "has the archive"},
		"an archive of nothing":    {func(m *Manifest) { archive(m).Binaries = nil }, "assets[1].binaries", "at least one"},
		"an archive for nothing":   {func(m *Manifest) { archive(m).Target = "" }, "assets[1].target", "an archive has a target"},
		"a changelog's target":     {func(m *Manifest) { m.Assets[0].Target = "x86_64-unknown-linux-gnu" }, "assets[0].target", "a changelog has no target"},
		"files of a file":          {func(m *Manifest) { m.Assets[4].Files = slices.Clone(archive(m).Files) }, "assets[4].kind", "only an archive"},
		"binaries of a file":       {func(m *Manifest) { m.Assets[4].Binaries = slices.Clone(archive(m).Binaries) }, "assets[4].kind", "only an archive"},
		"a path twice":             {func(m *Manifest) { archive(m).Files[0].Path = archive(m).Binaries[0].Path }, "assets[1].files[0].path", "twice"},
		"a binary twice": {func(m *Manifest) {
			b := archive(m).Binaries[0]
			b.Path += "2"
			archive(m).Binaries = append(archive(m).Binaries, b)
		}, "assets[1].binaries[1].name", "twice"},
		"a file's digest":             {func(m *Manifest) { archive(m).Files[0].SHA256 = "x" }, "assets[1].files[0].sha256", ""},
		"a file's size":               {func(m *Manifest) { archive(m).Files[0].Size = -1 }, "assets[1].files[0].size", "-1 is less than 0"},
		"a binary's size":             {func(m *Manifest) { archive(m).Binaries[0].Size = -1 }, "assets[1].binaries[0].size", "-1 is less than 0"},
		"an asset's size":             {func(m *Manifest) { m.Assets[0].Size = -1 }, "assets[0].size", "-1 is less than 0"},
		"static with libraries":       {func(m *Manifest) { m.Assets[2].Binaries[0].Needed = []string{"libc.so.6"} }, "assets[2].binaries[0].linkage", "neither"},
		"static with an interpreter":  {func(m *Manifest) { m.Assets[2].Binaries[0].Interpreter = "/lib/ld.so" }, "assets[2].binaries[0].linkage", "neither"},
		"a port twice":                {func(m *Manifest) { m.Image.Expose = []string{"1", "2", "1"} }, "image.expose[2]", "twice"},
		"smoke: skipped and expected": {func(m *Manifest) { m.SchemaVersion, m.Image.Smoke = "1.1", &Smoke{Skip: true, Expect: "x"} }, "image.smoke", "skip is true"},
		"smoke: skipped with args":    {func(m *Manifest) { m.SchemaVersion, m.Image.Smoke = "1.1", &Smoke{Skip: true, Args: []string{"x"}} }, "image.smoke", "skip is true"},
	} {
		t.Run(name, func(t *testing.T) {
			m := example()
			c.change(m)
			var field *FieldError
			require.ErrorAs(t, m.Validate(), &field)
			assert.Equal(t, c.field, field.Field, "the first problem")
			assert.Contains(t, field.Problem, c.says)
		})
	}
	m := example()
	m.SchemaVersion, m.Image.Smoke = "1.1", &Smoke{Skip: true}
	assert.NoError(t, m.Validate())
	m = example()
	m.Tag, m.Version = "v10.8.0-rc.2", "10.8.0-rc.2"
	assert.NoError(t, m.Validate(), "a letter before the number")
	for _, other := range []string{"3.0.8.0-rc.2", "v9-9.0.8.0-rc.2"} {
		m.Tag, m.Version = other, "0.8.0-rc.2"
		assert.ErrorContains(t, m.Validate(), "continues to its left", other)
	}
}

func TestValidateChecksTheSchemaVersion(t *testing.T) {
	for version, fails := range map[string]bool{"1.0": false, "1.9999": false, "1": true, "1.0.0": true, "01.0": true, "1.01": true, "x": true, "": true, "0.9": true, "2.0": true} {
		m := minimal()
		m.SchemaVersion = version
		assert.Equal(t, fails, m.Validate() != nil, version)
		_, err := m.Marshal()
		assert.Equal(t, fails, err != nil, version)
	}
	m := minimal()
	m.SchemaVersion = "7.1"
	m.Tag = "" // is not looked at
	err := m.Validate()
	var other *VersionError
	require.ErrorAs(t, err, &other)
	assert.Equal(t, "7.1", other.Got)
	assert.False(t, errors.As(err, new(*FieldError)))
	assert.Contains(t, other.Error(), `has schema version "7.1", but this version of Gantry reads 1.x (up to `+SchemaVersion+")")
}

// Marshal sorts what it writes, and nothing in the manifest that it is given.
func TestMarshalSorts(t *testing.T) {
	m := example()
	a := &m.Assets[1]
	second, file := a.Binaries[0], a.Files[0]
	second.Name, second.Path = "admin", "server-0.8.0-rc.2/admin"
	file.Path = "server-0.8.0-rc.2/AUTHORS"
	a.Binaries, a.Files = append(a.Binaries, second), append(a.Files, file)
	slices.Reverse(m.Assets)
	a = &m.Assets[3]
	text, err := m.Marshal()
	require.NoError(t, err)
	assert.Equal(t, []string{"server", "admin"}, []string{a.Binaries[0].Name, a.Binaries[1].Name})
	assert.Equal(t, "server-0.8.0-rc.2/LICENSE", a.Files[0].Path)
	assert.Equal(t, "server.service", m.Assets[0].Name)

	parsed, err := Parse(text)
	require.NoError(t, err)
	assert.Equal(t, "CHANGELOG.md", parsed.Assets[0].Name)
	assert.Equal(t, "admin", parsed.Assets[1].Binaries[0].Name)
	assert.Equal(t, "server-0.8.0-rc.2/AUTHORS", parsed.Assets[1].Files[0].Path)
}

func TestSizesOfDocuments(t *testing.T) {
	text, err := minimal().Marshal()
	require.NoError(t, err)
	_, err = Parse(append(text, strings.Repeat(" ", MaxSize-len(text))...))
	require.NoError(t, err, "the largest")
	_, err = Parse(append(text, strings.Repeat(" ", MaxSize-len(text)+1)...))
	require.ErrorContains(t, err, "bytes, more than the limit of")

	m := minimal()
	m.Description = strings.Repeat("x", MaxSize-len(text)-len("  \"description\": \"\",\n"))
	large, err := m.Marshal()
	require.NoError(t, err)
	require.Len(t, large, MaxSize)
	_, err = Parse(large)
	require.NoError(t, err)
	m.Description += "x"
	_, err = m.Marshal()
	assert.ErrorContains(t, err, "put fewer files into the archives")
}

// The fields are looked at before anything else reads the document.
func TestParseNamesTheField(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   string
	}{
		"a list of labels":    {set([]any{"a"}, "image", "labels"), `field "image.labels": it must be an object`},
		"text for a list":     {set("x", "image", "cmd"), `field "image.cmd": it must be an array`},
		"a number in a list":  {set([]any{"a", 1}, "image", "cmd"), `field "image.cmd[1]": it must be a string`},
		"a list for an asset": {set([]any{}, "assets", 0), `field "assets[0]": it must be an object`},
		"null in a map":       {set(nil, "image", "env", "X"), `field "image.env.X": it must be a string`},
	} {
		_, err := Parse(edit(t, c.change))
		assert.ErrorContains(t, err, c.want, name)
	}
	text, err := minimal().Marshal()
	require.NoError(t, err)
	_, err = Parse([]byte(strings.Replace(string(text), `"rustc"`, `"cargo": "x", "rustc"`, 1)))
	assert.ErrorContains(t, err, `field "toolchain.cargo" appears twice`)
	_, err = Parse([]byte("[1]"))
	assert.ErrorContains(t, err, "it may be an error page")
}

func TestVersionOf(t *testing.T) {
	for _, c := range []struct{ own, version, tag, want string }{
		{"v1.0.0", "1.0.0", "v2.0.0", "2.0.0"},
		{"v1.0.0", "1.0.0", "2.0.0", "2.0.0"},
		{"app-1.0.0", "1.0.0", "app-v2.0.0-rc.1", "2.0.0-rc.1"},
		{"app-1.0.0", "1.0.0", "app-cli-2.0.0", ""},
		{"app-1.0.0", "1.0.0", "v2.0.0", ""},
		{"v1.0.0", "1.0.0", "edge", ""},
	} {
		v, ok := (&Manifest{Tag: c.own, Version: c.version}).VersionOf(c.tag)
		assert.Equal(t, c.want != "", ok, c.tag)
		if ok {
			assert.Equal(t, c.want, v.String(), strings.Join([]string{c.own, c.tag}, " "))
		}
	}
}
