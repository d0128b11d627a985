package manifest

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func digest(c string) string { return strings.Repeat(c, 64) }

// example has every field of version 1.0.
func example() *Manifest {
	return &Manifest{
		SchemaVersion: "1.0",
		Component:     "server",
		Tag:           "server-0.8.0-rc.2",
		Version:       "0.8.0-rc.2",
		Channel:       "rc",
		Commit:        strings.Repeat("f5350d99", 5),
		CommitDate:    "2026-04-14T09:30:00Z",
		PreviousTag:   "server-0.7.0",
		Repository:    "https://github.com/acme/server",
		Description:   "Streams <messages> & more",
		License:       "MIT OR Apache-2.0",
		Homepage:      "https://server.example",
		Toolchain: Toolchain{
			Image: "docker.io/library/rust:1.85-bookworm@sha256:" + digest("1"),
			Rustc: "rustc 1.85.0 (4d91de4e4 2025-02-17)",
			Cargo: "cargo 1.85.0 (d73d2caf9 2024-12-31)",
		},
		Assets: []Asset{
			{Name: "CHANGELOG.md", Kind: KindChangelog, SHA256: digest("2"), Size: 120},
			{
				Name: "server-0.8.0-rc.2-x86_64-unknown-linux-gnu.tar.gz", Kind: KindArchive,
				Target: "x86_64-unknown-linux-gnu", SHA256: digest("3"), Size: 4096,
				Binaries: []Binary{{
					Name: "server", Package: "server", Path: "server-0.8.0-rc.2/server",
					SHA256: digest("4"), Size: 9000, Format: "elf", Arch: "x86_64", Linkage: "dynamic",
					Interpreter: "/lib64/ld-linux-x86-64.so.2", GlibcFloor: "2.34", Needed: []string{"libc.so.6"},
				}},
				Files: []File{{Path: "server-0.8.0-rc.2/LICENSE", SHA256: digest("5"), Size: 0, Mode: "0644"}},
			},
			{
				Name: "server-0.8.0-rc.2-x86_64-unknown-linux-musl.tar.gz", Kind: KindArchive,
				Target: "x86_64-unknown-linux-musl", SHA256: digest("6"), Size: 4096,
				Binaries: []Binary{{
					Name: "server", Package: "server", Path: "server", SHA256: digest("7"), Size: 9000,
					Format: "elf", Arch: "x86_64", Linkage: "static",
				}},
			},
			{Name: "server.spdx.json", Kind: KindSBOM, Target: "x86_64-unknown-linux-gnu", SHA256: digest("8"), Size: 1},
			{Name: "server.service", Kind: KindFile, SHA256: digest("9"), Size: 1},
		},
		Image: &Image{
			Repositories: []string{"ghcr.io/acme/server", "localhost:5000/acme/server"},
			Base:         "gcr.io/distroless/cc-debian12",
			Entrypoint:   []string{"/usr/local/bin/server"},
			Cmd:          []string{"--config", ""},
			User:         "65532:65532",
			Workdir:      "/var/lib/server",
			Expose:       []string{"8080/tcp", "65535"},
			Labels:       map[string]string{"org.example.team": "core"},
			Env:          map[string]string{"RUST_LOG": "info"},
			Include:      map[string]string{"config": "/etc/server/"},
			Platforms:    []string{"linux/amd64", "linux/arm/v7"},
		},
	}
}

// newest has the fields of later versions, too.
func newest() *Manifest {
	m := example()
	no := false
	m.Image.Tags = &ImageTags{Floating: &no, Prefix: "v", Suffix: "-alpine"}
	m.Image.Smoke = &Smoke{Args: []string{"check", ""}, Expect: "fine"}
	m.UseLeastSchema()
	return m
}

// minimal has nothing that can be left out.
func minimal() *Manifest {
	return &Manifest{
		SchemaVersion: "1.0", Component: "a", Tag: "v1.0.0", Version: "1.0.0", Channel: "stable",
		Commit: digest("a"), CommitDate: "1970-01-01T00:00:00Z",
		Toolchain: Toolchain{Rustc: "rustc 1.85.0", Cargo: "cargo 1.85.0"},
		Assets:    []Asset{{Name: "CHANGELOG.md", Kind: KindChangelog, SHA256: digest("0")}},
	}
}

func TestMarshalIsGolden(t *testing.T) {
	golden, err := os.ReadFile("testdata/example.json")
	require.NoError(t, err)

	m := example()
	got, err := m.Marshal()
	require.NoError(t, err)
	assert.Equal(t, string(golden), string(got))

	slices.Reverse(m.Assets)
	got, err = m.Marshal()
	require.NoError(t, err)
	assert.Equal(t, string(golden), string(got), "the order of assets makes no difference")
	assert.Equal(t, "server.service", m.Assets[0].Name, "the receiver keeps its order")
}

func TestParseReadsWhatMarshalWrites(t *testing.T) {
	for name, m := range map[string]*Manifest{"example": example(), "minimal": minimal(), "newest": newest()} {
		t.Run(name, func(t *testing.T) {
			text, err := m.Marshal()
			require.NoError(t, err)
			parsed, err := Parse(text)
			require.NoError(t, err)
			slices.SortFunc(m.Assets, func(a, b Asset) int { return strings.Compare(a.Name, b.Name) })
			assert.Equal(t, m, parsed)
		})
	}
}

// A manifest without new fields is written in the version that every reader
// knows; one that has them is not.
func TestUseLeastSchema(t *testing.T) {
	for want, image := range map[string]*Image{
		"1.0": {User: "1"},
		"1.1": {Smoke: &Smoke{Skip: true}},
	} {
		m := minimal()
		m.Image = image
		m.UseLeastSchema()
		assert.Equal(t, want, m.SchemaVersion)
		assert.NoError(t, m.Validate())
	}
	wasm := example()
	wasm.Assets[1].Binaries[0].Format = "wasm"
	for _, old := range []string{"1.0", "1.1"} {
		wasm.SchemaVersion = old
		assert.ErrorContains(t, wasm.Validate(), `field "schemaVersion": binaries of the format "wasm" came with version 1.2, not `+old)
	}
	for _, known := range []string{"1.2", "1.3"} {
		wasm.SchemaVersion = known
		assert.NoError(t, wasm.Validate(), known)
	}
	wasm.UseLeastSchema()
	assert.Equal(t, "1.2", wasm.SchemaVersion)
	text, err := wasm.Marshal()
	require.NoError(t, err)
	_, err = Parse(text)
	assert.NoError(t, err)

	m := minimal()
	m.UseLeastSchema("elf", "wasm")
	assert.Equal(t, "1.2", m.SchemaVersion, "other parts have some")
	m.UseLeastSchema("elf")
	assert.Equal(t, "1.0", m.SchemaVersion)
	m.Image = &Image{Tags: &ImageTags{Prefix: "v"}}
	assert.EqualError(t, m.Validate(), `field "schemaVersion": image.tags and image.smoke are fields of version 1.1, not of 1.0`)
	m = minimal()
	m.UseLeastSchema()
	assert.Equal(t, "1.0", m.SchemaVersion)
}

func TestMarshalRefusesWhatParseWould(t *testing.T) {
	m := example()
	m.Channel = "stable"
	_, err := m.Marshal()
	assert.EqualError(t, err, `write release-manifest.json: field "channel": "stable" is not the channel of version "0.8.0-rc.2", "rc"`)
}

func TestLookups(t *testing.T) {
	m := example()
	asset, found := m.AssetByName("CHANGELOG.md")
	assert.True(t, found)
	assert.Equal(t, KindChangelog, asset.Kind)
	_, found = m.AssetByName("changelog.md")
	assert.False(t, found)
	assert.Len(t, m.Archives(), 2)
	asset, found = m.ArchiveFor("x86_64-unknown-linux-gnu")
	assert.True(t, found)
	assert.Equal(t, KindArchive, asset.Kind)
	_, found = m.ArchiveFor("aarch64-apple-darwin")
	assert.False(t, found)
}

// edit returns a valid document after a change to it as JSON.
func edit(t *testing.T, change func(doc map[string]any)) []byte {
	t.Helper()
	text, err := example().Marshal()
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(text, &doc))
	change(doc)
	text, err = json.Marshal(doc)
	require.NoError(t, err)
	return text
}

// set changes the value at a path of keys and indices.
func set(value any, path ...any) func(map[string]any) {
	return func(doc map[string]any) {
		var at any = doc
		for _, step := range path[:len(path)-1] {
			switch step := step.(type) {
			case string:
				at = at.(map[string]any)[step]
			case int:
				at = at.([]any)[step]
			}
		}
		switch last := path[len(path)-1].(type) {
		case string:
			if value == absent {
				delete(at.(map[string]any), last)
			} else {
				at.(map[string]any)[last] = value
			}
		case int:
			at.([]any)[last] = value
		}
	}
}

var absent = new(int)

// The golden document has its assets in this order.
const (
	changelog = 0
	gnu       = 1
	musl      = 2
	service   = 3
	sbom      = 4
)

func TestParseAndSchemaRefuse(t *testing.T) {
	compiled := compile(t)
	image := func(value any, path ...any) func(map[string]any) {
		return set(value, append([]any{"image"}, path...)...)
	}
	// A change of a document that has the newest fields.
	newer := func(value any, path ...any) func(map[string]any) {
		return func(doc map[string]any) {
			set(SchemaVersion, "schemaVersion")(doc)
			image(map[string]any{"prefix": "v"}, "tags")(doc)
			image(map[string]any{"args": []any{"check"}}, "smoke")(doc)
			image(value, path...)(doc)
		}
	}
	asset := func(i int, value any, path ...any) func(map[string]any) {
		return set(value, append([]any{"assets", i}, path...)...)
	}
	binary := func(value any, field string) func(map[string]any) { return asset(gnu, value, "binaries", 0, field) }

	for name, test := range map[string]struct {
		change func(map[string]any)
		want   string // part of the error of Parse
		// beyond is true where a schema cannot say it.
		beyond bool
	}{
		"unknown field":            {change: set("x", "extra"), want: `field "extra": schema version 1.0 has no such field`},
		"unknown field inside":     {change: asset(gnu, 1, "binaries", 0, "stripped"), want: `field "assets[1].binaries[0].stripped"`},
		"field in another case":    {change: set("x", "TAG"), want: `field "TAG": write it "tag"`},
		"missing field":            {change: set(absent, "toolchain", "rustc"), want: `field "toolchain.rustc": it is missing`},
		"missing size":             {change: asset(sbom, absent, "size"), want: `field "assets[4].size": it is missing`},
		"missing assets":           {change: set(absent, "assets"), want: `field "assets": it is missing`},
		"missing schema version":   {change: set(absent, "schemaVersion"), want: `no field "schemaVersion"`},
		"empty schema version":     {change: set("", "schemaVersion"), want: `"" is not MAJOR.MINOR`},
		"null":                     {change: set(nil, "image"), want: `field "image": it must be an object`},
		"null list":                {change: set(nil, "assets"), want: `field "assets": it must be an array`},
		"number for text":          {change: set(1, "tag"), want: `field "tag": it must be a string`},
		"text for number":          {change: asset(sbom, "1", "size"), want: `field "assets[4].size": it must be a whole number`},
		"fraction":                 {change: asset(sbom, 1.5, "size"), want: `field "assets[4].size": it must be a whole number`},
		"empty optional text":      {change: set("", "homepage"), want: `field "homepage": it is empty: omit it`},
		"other major version":      {change: set("2.0", "schemaVersion"), want: `schema version "2.0", but this version of Gantry reads 1.x (up to 1.2): use`},
		"component":                {change: set("a b", "component"), want: `field "component": "a b"`},
		"tag with a space":         {change: set("server 0.8.0-rc.2", "tag"), want: `field "tag"`},
		"tag that git refuses":     {change: set("server/../0.8.0-rc.2", "tag"), want: `has "..", which git refuses`},
		"tag of another version":   {change: set("server-0.8.1", "tag"), want: `"server-0.8.1" does not end in version "0.8.0-rc.2"`, beyond: true},
		"tag with more digits":     {change: set("10.8.0-rc.2", "tag"), want: `the number continues to its left`, beyond: true},
		"previous tag is this":     {change: set("server-0.8.0-rc.2", "previousTag"), want: `it is the release's own tag`, beyond: true},
		"leading v":                {change: set("v0.8.0-rc.2", "version"), want: `field "version"`},
		"partial version":          {change: set("0.8", "version"), want: `field "version"`},
		"leading zero":             {change: set("0.8.0-rc.02", "version"), want: `field "version"`},
		"build metadata":           {change: set("0.8.0+1", "version"), want: `field "version"`},
		"channel of a prerelease":  {change: set("stable", "channel"), want: `field "channel": "stable" is not the channel of version "0.8.0-rc.2", "rc"`},
		"another channel":          {change: set("beta", "channel"), want: `field "channel": "beta"`, beyond: true},
		"short commit":             {change: set("f5350d999", "commit"), want: `field "commit"`},
		"upper-case commit":        {change: set(strings.Repeat("A", 40), "commit"), want: `field "commit"`},
		"date with an offset":      {change: set("2026-04-14T09:30:00+02:00", "commitDate"), want: `field "commitDate"`},
		"date with a fraction":     {change: set("2026-04-14T09:30:00.5Z", "commitDate"), want: `field "commitDate"`},
		"day that doesn't exist":   {change: set("2026-02-30T09:30:00Z", "commitDate"), want: `field "commitDate"`},
		"insecure repository":      {change: set("http://github.com/acme/server", "repository"), want: `field "repository"`},
		"password in repository":   {change: set("https://me:secret@github.com/acme/server", "repository"), want: `field "repository"`},
		"toolchain in two lines":   {change: set("rustc\n1", "toolchain", "rustc"), want: `field "toolchain.rustc"`},
		"toolchain image":          {change: set("rust 1.85", "toolchain", "image"), want: `field "toolchain.image"`},
		"no assets":                {change: set([]any{}, "assets"), want: `field "assets": a release has at least one`},
		"asset name with a space":  {change: asset(sbom, "a b", "name"), want: `field "assets[4].name": "a b" is not a name that GitHub keeps`},
		"asset name with a plus":   {change: asset(sbom, "a+b", "name"), want: `field "assets[4].name"`},
		"asset name with a slash":  {change: asset(sbom, "a/b", "name"), want: `field "assets[4].name"`},
		"asset name, leading dot":  {change: asset(sbom, ".a", "name"), want: `field "assets[4].name"`},
		"asset name, trailing dot": {change: asset(sbom, "a.", "name"), want: `field "assets[4].name"`},
		"asset name, line feed":    {change: asset(sbom, "a\n", "name"), want: `field "assets[4].name"`},
		"asset name too long":      {change: asset(sbom, strings.Repeat("a", 256), "name"), want: `256 characters`},
		"asset name twice":         {change: asset(sbom, "Changelog.MD", "name"), want: `"Changelog.MD" is taken by "CHANGELOG.md"`, beyond: true},
		"reserved asset name":      {change: asset(sbom, "sha256sums", "name"), want: `"sha256sums" is taken by "SHA256SUMS"`},
		"asset name of manifest":   {change: asset(sbom, FileName, "name"), want: `is taken by "release-manifest.json"`},
		"unknown kind":             {change: asset(service, "deb", "kind"), want: `field "assets[3].kind": "deb" is not one of`},
		"digest in upper case":     {change: asset(sbom, digest("A"), "sha256"), want: `field "assets[4].sha256"`},
		"digest with algorithm":    {change: asset(sbom, "sha256:"+digest("a"), "sha256"), want: `field "assets[4].sha256"`},
		"negative size":            {change: asset(sbom, -1, "size"), want: `field "assets[4].size": -1 is less than 0`},
		"archive without target":   {change: asset(gnu, absent, "target"), want: `field "assets[1].target": an archive has a target`},
		"target in one part":       {change: asset(gnu, "linux", "target"), want: `"linux" is not a Rust target triple`},
		"two archives of a target": {change: asset(musl, "x86_64-unknown-linux-gnu", "target"), want: `has the archive`, beyond: true},
		"archive without binaries": {change: asset(gnu, []any{}, "binaries"), want: `an archive has at least one binary`},
		"changelog with a target":  {change: asset(changelog, "x86_64-unknown-linux-gnu", "target"), want: `a changelog has no target`},
		"file with binaries":       {change: asset(gnu, "file", "kind"), want: `only an archive has binaries and files`},
		"binary's name":            {change: binary("a/b", "name"), want: `field "assets[1].binaries[0].name"`},
		"binary's package":         {change: binary("", "package"), want: `field "assets[1].binaries[0].package"`},
		"absolute path":            {change: binary("/bin/server", "path"), want: `field "assets[1].binaries[0].path"`},
		"escaping path":            {change: binary("a/../../server", "path"), want: `field "assets[1].binaries[0].path"`},
		"path, not the shortest":   {change: binary("./server", "path"), want: `field "assets[1].binaries[0].path"`},
		"path with two slashes":    {change: binary("a//server", "path"), want: `field "assets[1].binaries[0].path"`},
		"path with a slash at end": {change: binary("a/", "path"), want: `field "assets[1].binaries[0].path"`},
		"path with a backslash":    {change: binary(`a\server`, "path"), want: `field "assets[1].binaries[0].path"`},
		"path with a drive letter": {change: binary(`C:server`, "path"), want: `field "assets[1].binaries[0].path"`},
		"path twice":               {change: binary("server-0.8.0-rc.2/LICENSE", "path"), want: `is in the archive twice`, beyond: true},
		"format":                   {change: binary("a.out", "format"), want: `"a.out" is not one of ["elf" "pe" "macho" "wasm"]`},
		"arch":                     {change: binary("", "arch"), want: `field "assets[1].binaries[0].arch"`},
		"linkage":                  {change: binary("shared", "linkage"), want: `"shared" is not one of`},
		"static with interpreter":  {change: binary("static", "linkage"), want: `a static binary has neither`},
		"glibc floor":              {change: binary("2", "glibcFloor"), want: `field "assets[1].binaries[0].glibcFloor"`},
		"needed without a name":    {change: binary([]any{""}, "needed"), want: `field "assets[1].binaries[0].needed"`},
		"mode":                     {change: asset(gnu, "0777", "files", 0, "mode"), want: `"0777" is not 0644 or 0755`},
		"repository with a tag":    {change: image("ghcr.io/acme/server:1", "repositories", 0), want: `field "image.repositories[0]"`},
		"repository in upper case": {change: image("ghcr.io/Acme/server", "repositories", 0), want: `field "image.repositories[0]"`},
		"repository twice":         {change: image("ghcr.io/acme/server", "repositories", 1), want: `appears twice`},
		"base":                     {change: image("debian 12", "base"), want: `field "image.base"`},
		"entrypoint":               {change: image([]any{""}, "entrypoint"), want: `field "image.entrypoint"`},
		"user":                     {change: image("0:0:0", "user"), want: `field "image.user"`},
		"relative workdir":         {change: image("srv", "workdir"), want: `field "image.workdir"`},
		"workdir that escapes":     {change: image("/srv/..", "workdir"), want: `field "image.workdir"`},
		"workdir of slashes":       {change: image("//", "workdir"), want: `field "image.workdir"`},
		"port 0":                   {change: image("0/tcp", "expose", 0), want: `field "image.expose[0]"`},
		"port too large":           {change: image("65536", "expose", 0), want: `ports end at 65535`},
		"port's protocol":          {change: image("80/http", "expose", 0), want: `field "image.expose[0]"`},
		"label with a space":       {change: image(map[string]any{"a b": ""}, "labels"), want: `field "image.labels"`},
		"variable with =":          {change: image(map[string]any{"A=B": ""}, "env"), want: `field "image.env"`},
		"value of another type":    {change: image(map[string]any{"A": 1}, "env"), want: `field "image.env.A": it must be a string`},
		"variable with NUL":        {change: image(map[string]any{"A": "\x00"}, "env"), want: `field "image.env.A"`},
		"include that escapes":     {change: image(map[string]any{"../x": "/x"}, "include"), want: `field "image.include"`},
		"include to nowhere":       {change: image(map[string]any{"x": "etc"}, "include"), want: `field "image.include.x"`},
		"tags of the first schema": {change: image(map[string]any{"prefix": "v"}, "tags"), want: `field "schemaVersion": image.tags and image.smoke are fields of version 1.1, not of 1.0`},
		"smoke of the first":       {change: image(map[string]any{"skip": true}, "smoke"), want: `field "schemaVersion"`},
		"prefix of image tags":     {change: newer("v ", "tags", "prefix"), want: `field "image.tags.prefix": "v " is not at most 32 letters`},
		"prefix with a dash first": {change: newer("-v", "tags", "prefix"), want: `field "image.tags.prefix"`},
		"empty suffix":             {change: newer("", "tags", "suffix"), want: `field "image.tags.suffix": it is empty: omit it`},
		"long suffix":              {change: newer(strings.Repeat("a", 33), "tags", "suffix"), want: `field "image.tags.suffix"`},
		"floating":                 {change: newer("yes", "tags", "floating"), want: `field "image.tags.floating": it must be true or false`},
		"unknown field of tags":    {change: newer("v", "tags", "prefx"), want: `field "image.tags.prefx": schema version 1.2 has no such field`},
		"empty expectation":        {change: newer("", "smoke", "expect"), want: `field "image.smoke.expect": it is empty: omit it`},
		"skip":                     {change: newer(1, "smoke", "skip"), want: `field "image.smoke.skip": it must be true or false`},
		"skip with more":           {change: newer(true, "smoke", "skip"), want: `field "image.smoke": skip is true, so that args and expect have no effect`},
		"tag of a lock":            {change: set("v0.7.0-rc.lock", "previousTag"), want: `field "previousTag": "v0.7.0-rc.lock" ends in ".lock", which git refuses`},
		"platform":                 {change: image("amd64", "platforms", 0), want: `field "image.platforms[0]"`},
	} {
		t.Run(name, func(t *testing.T) {
			text := edit(t, test.change)
			_, err := Parse(text)
			assert.ErrorContains(t, err, test.want)

			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			require.NoError(t, err)
			if err := compiled.Validate(doc); test.beyond {
				assert.NoError(t, err, "the schema can say it after all")
			} else {
				assert.Error(t, err, "the schema accepts it")
			}
		})
	}
}

// What JSON itself leaves open, before any field is looked at.
func TestParseRefusesText(t *testing.T) {
	valid, err := minimal().Marshal()
	require.NoError(t, err)
	for name, test := range map[string]struct{ text, want string }{
		"nothing":          {"", "it may be an error page, or cut off"},
		"a page":           {"<!DOCTYPE html>", "it may be an error page, or cut off"},
		"cut off":          {string(valid[:len(valid)/2]), "it may be an error page, or cut off"},
		"another type":     {"[]", "it may be an error page"},
		"null":             {"null", "it is not a release manifest"},
		"a second one":     {string(valid) + string(valid), "after top-level value"},
		"a field twice":    {strings.Replace(string(valid), `{`, `{"tag": "v2.0.0",`, 1), `field "tag" appears twice`},
		"not UTF-8":        {strings.Replace(string(valid), "v1.0.0", "v\xff", 1), "not UTF-8"},
		"large":            {strings.Repeat(" ", MaxSize) + string(valid), "more than the limit of 8388608"},
		"exponent":         {strings.Replace(string(valid), `"size": 0`, `"size": 1e3`, 1), "it must be a whole number"},
		"number too large": {strings.Replace(string(valid), `"size": 0`, `"size": 9223372036854775808`, 1), "it must be a whole number"},
		"deep":             {strings.Repeat("[", 1_000_000), "it may be an error page, or cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.text))
			assert.ErrorContains(t, err, "read release-manifest.json: ")
			assert.ErrorContains(t, err, test.want)
		})
	}
}

func TestParseOtherSchemaVersions(t *testing.T) {
	_, err := Parse(edit(t, set("2.0", "schemaVersion")))
	var version *VersionError
	require.ErrorAs(t, err, &version)
	assert.Equal(t, VersionError{Got: "2.0", Known: SchemaVersion}, *version)

	newer := func(doc map[string]any) {
		set("1.7", "schemaVersion")(doc)
		set([]any{map[string]any{"a": nil}}, "signatures")(doc)
		set("x", "assets", gnu, "binaries", 0, "buildId")(doc)
	}
	m, err := Parse(edit(t, newer))
	require.NoError(t, err, "a newer minor version may have more fields")
	assert.Equal(t, "1.7", m.SchemaVersion)

	_, err = Parse(edit(t, func(doc map[string]any) {
		newer(doc)
		set("deb", "assets", service, "kind")(doc)
	}))
	assert.ErrorContains(t, err, `"deb" is not one of`, "what is known must still be right")
}

func TestValidateNamesEveryProblem(t *testing.T) {
	m := example()
	m.Commit = "x"
	m.Assets[1].Binaries[0].Path = "../x"
	err := m.Validate()
	assert.ErrorContains(t, err, `field "commit"`)
	assert.ErrorContains(t, err, `field "assets[1].binaries[0].path"`)
	var field *FieldError
	require.ErrorAs(t, err, &field)
	assert.Equal(t, "commit", field.Field)
}

func TestTags(t *testing.T) {
	for _, test := range []struct{ tag, version, channel string }{
		{"0.0.52", "0.0.52", "stable"},
		{"server-0.7.0-rc1", "0.7.0-rc1", "rc"},
		{"iggy-cli-0.10.0", "0.10.0", "stable"},
		{"foreign/go/v0.9.0-edge.4", "0.9.0-edge.4", "edge"},
		{"pkg@1.0.0-1", "1.0.0-1", "prerelease"},
	} {
		m := minimal()
		m.Tag, m.Version, m.Channel = test.tag, test.version, test.channel
		assert.NoError(t, m.Validate(), test.tag)
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource("schema.json", doc))
	compiled, err := compiler.Compile("schema.json")
	require.NoError(t, err)
	return compiled
}

func TestSchemaAcceptsWhatMarshalWrites(t *testing.T) {
	for name, m := range map[string]*Manifest{"example": example(), "minimal": minimal(), "newest": newest()} {
		t.Run(name, func(t *testing.T) {
			text, err := m.Marshal()
			require.NoError(t, err)
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			require.NoError(t, err)
			assert.NoError(t, compile(t).Validate(doc))
		})
	}
}

// The schema and the Go types have the same fields, of the same types, with
// the same ones required, and each has a description.
func TestSchemaHasTheFieldsOfTheTypes(t *testing.T) {
	var doc map[string]any
	require.NoError(t, json.Unmarshal(schema, &doc))
	defs := doc["$defs"].(map[string]any)
	resolve := func(node map[string]any) map[string]any {
		if ref, ok := node["$ref"].(string); ok {
			return defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		return node
	}

	var compare func(at string, typ reflect.Type, node map[string]any)
	compare = func(at string, typ reflect.Type, node map[string]any) {
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		node = resolve(node)
		switch typ.Kind() {
		case reflect.Struct:
			assert.Equal(t, "object", node["type"], at)
			assert.Equal(t, false, node["additionalProperties"], at)
			properties := node["properties"].(map[string]any)
			required := []any{}
			for i := range typ.NumField() {
				name, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
				if options != "omitempty" {
					required = append(required, name)
				}
				property, ok := properties[name].(map[string]any)
				if !assert.True(t, ok, "%s.%s is missing", at, name) {
					continue
				}
				description, own := property["description"]
				if !own {
					description = resolve(property)["description"]
				}
				assert.NotEmpty(t, description, "%s.%s", at, name)
				compare(at+"."+name, typ.Field(i).Type, property)
			}
			assert.Len(t, properties, typ.NumField(), at)
			assert.ElementsMatch(t, required, node["required"], at)
		case reflect.Slice:
			assert.Equal(t, "array", node["type"], at)
			compare(at+"[]", typ.Elem(), node["items"].(map[string]any))
		case reflect.Map:
			assert.Equal(t, "object", node["type"], at)
			compare(at+"{}", typ.Elem(), node["additionalProperties"].(map[string]any))
		case reflect.String:
			assert.Equal(t, "string", node["type"], at)
		case reflect.Int64:
			assert.Equal(t, "integer", node["type"], at)
		case reflect.Bool:
			assert.Equal(t, "boolean", node["type"], at)
		default:
			t.Errorf("%s has type %s", at, typ)
		}
	}
	compare("manifest", reflect.TypeFor[Manifest](), doc)
	assert.Equal(t, []any{"1.0", "1.1", SchemaVersion}, doc["properties"].(map[string]any)["schemaVersion"].(map[string]any)["enum"])
}

// What Parse accepts, Marshal writes, and Parse reads back the same.
func FuzzParse(f *testing.F) {
	for _, m := range []*Manifest{example(), minimal(), newest()} {
		text, err := m.Marshal()
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		written, err := m.Marshal()
		require.NoError(t, err)
		again, err := Parse(written)
		require.NoError(t, err)
		rewritten, err := again.Marshal()
		require.NoError(t, err)
		require.Equal(t, string(written), string(rewritten))
	})
}
