package docs

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/markdown"
	"dagger/gantry/ci/release/plan"
)

var update = flag.Bool("update", false, "write the generated parts of the pages anew")

// tables of the configuration, in the order of the page.
var tables = []struct {
	heading, intro string
	of             reflect.Type
	dir            string
}{
	{"In `[workspace.metadata.gantry]` and `[package.metadata.gantry]`", "All keys of the next table are keys here, too.", reflect.TypeFor[plan.Config](), "ci/release/plan"},
	{"Also in a target's table", "`[workspace.metadata.gantry.target.TRIPLE]` has these keys for one target. They override those above for it.", reflect.TypeFor[plan.BuildConfig](), "ci/release/plan"},
	{"In `changelog`", "", reflect.TypeFor[plan.Changelog](), "ci/release/plan"},
	{"In `image`", "The settings become part of the release, where phase 2 reads them.", reflect.TypeFor[manifest.Image](), "ci/manifest"},
	{"In `image.tags`", "", reflect.TypeFor[manifest.ImageTags](), "ci/manifest"},
	{"In `image.smoke`", "", reflect.TypeFor[manifest.Smoke](), "ci/manifest"},
}

// ordinary matches names of fields that are words of English.
var ordinary = regexp.MustCompile(`^[A-Z][a-z]+$`)

// keyTables renders the tables of all keys, from the types that read them and the
// comments of their fields.
func keyTables(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, table := range tables {
		b.WriteString("\n### " + table.heading + "\n\n")
		if table.intro != "" {
			b.WriteString(table.intro + "\n\n")
		}
		comments := commentsOf(t, table.dir, table.of.Name())
		var rows [][]string
		for i := range table.of.NumField() {
			f := table.of.Field(i)
			if f.Anonymous {
				continue
			}
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			require.NotEmpty(t, comments[f.Name], "%s has no comment", f.Name)
			meaning := markdown.Text(comments[f.Name])
			if rest, found := strings.CutPrefix(meaning, f.Name+" "); found && !ordinary.MatchString(f.Name) {
				meaning = markdown.Code(key) + " " + rest
			}
			rows = append(rows, []string{markdown.Code(key), kindOf(t, f.Type), meaning})
		}
		b.WriteString(markdown.Table([]string{"key", "value", "meaning"}, rows))
	}
	return b.String()
}

// commentsOf returns the comments of a type's fields, each on one line.
func commentsOf(t *testing.T, dir, name string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	require.NoError(t, err)
	comments := map[string]string{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != name {
				return true
			}
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				if len(f.Names) > 0 {
					comments[f.Names[0].Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
			return false
		})
	}
	return comments
}

// kindOf describes the values of a type.
func kindOf(t *testing.T, typ reflect.Type) string {
	t.Helper()
	if typ == reflect.TypeFor[plan.Prefixes]() {
		return "string, or array of strings"
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch kind := typ.Kind(); {
	case kind == reflect.String:
		return "string"
	case kind == reflect.Bool:
		return "true or false"
	case kind == reflect.Slice && typ.Elem().Kind() == reflect.String:
		return "array of strings"
	case kind == reflect.Map && typ.Elem().Kind() == reflect.String:
		return "table of strings"
	case kind == reflect.Map && typ.Elem().Kind() == reflect.Slice:
		return "table of arrays of strings"
	case kind == reflect.Map && typ.Elem().Kind() == reflect.Struct:
		return "table of tables"
	case kind == reflect.Struct:
		return "table"
	}
	require.Fail(t, "a type without a description", "%s", typ)
	return ""
}

// The page of the configuration has every key, with its comment in the code.
func TestConfigurationPage(t *testing.T) {
	path := filepath.Join(root, "docs", "configuration.md")
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	const start, end = "<!-- generated: go test ./ci/docs -update -->\n", "\n<!-- end -->"
	before, rest, found := strings.Cut(string(page), start)
	require.True(t, found)
	have, after, found := strings.Cut(rest, end)
	require.True(t, found)
	want := keyTables(t)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+start+want+end+after), 0o644))
		have = want
	}
	assert.Equal(t, want, have, "docs/configuration.md differs from the code: run go test ./ci/docs -update")
}

// The examples of the page use every key of the image.
func TestConfigurationExamples(t *testing.T) {
	text := pages(t)["docs/configuration.md"]
	examples, _, found := strings.Cut(text, "\n## Every key")
	require.True(t, found)
	var keys func(typ reflect.Type)
	keys = func(typ reflect.Type) {
		for i := range typ.NumField() {
			key, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			assert.Regexp(t, regexp.MustCompile(`(?m)(^|[{,] )`+key+` = `), examples)
			if field := typ.Field(i).Type; field.Kind() == reflect.Pointer && field.Elem().Kind() == reflect.Struct {
				keys(field.Elem())
			}
		}
	}
	keys(reflect.TypeFor[manifest.Image]())
}
