package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// function is a function of the module, as the command line shows it.
type function struct {
	// flags, and whether each is required.
	flags map[string]bool
	// switches are the flags without a value.
	switches map[string]bool
	// values of flags that allow only some.
	values map[string][]string
	// result is the name of its type.
	result string
}

// module has the functions of each type by their names; "" has the constructor.
type module map[string]map[string]function

// core has the functions of Dagger's types that the documentation uses.
var core = module{
	"Changeset": {"export": {flags: map[string]bool{"--path": true}}},
	"Directory": {"export": {flags: map[string]bool{"--path": true}}, "entries": {}},
	"File":      {"export": {flags: map[string]bool{"--path": true}}, "contents": {}, "size": {}},
	"Container": {
		"terminal": {}, "stdout": {},
		"with-exec": {flags: map[string]bool{"--args": true, "--use-entrypoint": false}, switches: map[string]bool{"--use-entrypoint": true}, result: "Container"},
	},
}

// readModule reads the declarations of the module's functions. The parser knows no doc
// comments of parameters: they become the parameters' line comments.
func readModule(t *testing.T) module {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	require.NoError(t, err)
	m := module{}
	enums := map[string][]string{}
	var parsed []*ast.File
	for _, path := range files {
		if filepath.Base(path) == "dagger.gen.go" {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		require.NoError(t, err)
		parsed = append(parsed, file)
		lines := map[int]string{}
		for _, c := range file.Comments {
			lines[set.Position(c.End()).Line+1] = c.Text()
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && v.Type != nil && len(v.Values) == 1 {
				if value, ok := v.Values[0].(*ast.BasicLit); ok {
					name := typeName(v.Type)
					enums[name] = append(enums[name], strings.ToLower(strings.Trim(value.Value, `"`)))
				}
			}
			if p, ok := n.(*ast.Field); ok {
				p.Comment = &ast.CommentGroup{List: []*ast.Comment{{Text: "//" + strings.ReplaceAll(lines[set.Position(p.Pos()).Line], "\n", " ")}}}
			}
			return true
		})
	}
	for _, file := range parsed {
		for _, d := range file.Decls {
			m.add(d, enums)
		}
	}
	for name, functions := range core {
		m[name] = functions
	}
	return m
}

// add adds a function, the constructor, or the facts of a type.
func (m module) add(d ast.Decl, enums map[string][]string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		of, name := "", "new"
		if d.Recv != nil {
			of, name = typeName(d.Recv.List[0].Type), kebab(d.Name.Name)
		} else if d.Name.Name != "New" {
			return
		}
		if d.Name.IsExported() {
			m.put(of, name, functionOf(d, enums))
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			of, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			fields, ok := of.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range fields.Fields.List {
				if !strings.Contains(f.Doc.Text(), "+private") {
					m.put(of.Name.Name, kebab(f.Names[0].Name), function{})
				}
			}
		}
	}
}

func (m module) put(of, name string, f function) {
	if m[of] == nil {
		m[of] = map[string]function{}
	}
	m[of][name] = f
}

func functionOf(d *ast.FuncDecl, enums map[string][]string) function {
	f := function{flags: map[string]bool{}, switches: map[string]bool{}, values: map[string][]string{}}
	for _, p := range d.Type.Params.List {
		name := typeName(p.Type)
		if name == "Context" {
			continue
		}
		flag := "--" + kebab(p.Names[0].Name)
		doc := p.Comment.Text()
		f.flags[flag] = !strings.Contains(doc, "+optional") && !strings.Contains(doc, "+default")
		f.switches[flag] = name == "bool"
		f.values[flag] = enums[name]
	}
	if d.Type.Results != nil {
		f.result = typeName(d.Type.Results.List[0].Type)
	}
	return f
}

// typeName returns the name of a type, without its package; of a list, "[]" and that
// of its elements.
func typeName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.SelectorExpr:
		return t.Sel.Name
	case *ast.ArrayType:
		return "[]" + typeName(t.Elt)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// kebab returns a name as the command line writes it.
func kebab(name string) string {
	name = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])`).ReplaceAllString(name, "$1$3-$2$4")
	return strings.Map(unicode.ToLower, name)
}

func TestKebab(t *testing.T) {
	for name, want := range map[string]string{
		"Plan": "plan", "AsJSON": "as-json", "WithPlainHTTP": "with-plain-http", "dryRun": "dry-run", "caCertificates": "ca-certificates", "github": "github", "FromEvent": "from-event",
	} {
		assert.Equal(t, want, kebab(name))
	}
}

// The reader of declarations sees what the module has.
func TestModule(t *testing.T) {
	m := readModule(t)
	assert.Contains(t, m[""]["new"].flags, "--manifest-path")
	assert.Equal(t, "Release", m["Gantry"]["release"].result)
	publish := m["Release"]["publish"]
	assert.True(t, publish.flags["--token"])
	assert.False(t, publish.flags["--dry-run"])
	assert.True(t, publish.switches["--dry-run"])
	assert.Equal(t, []string{"strict", "fill", "replace"}, publish.values["--existing"])
	assert.Contains(t, m["Release"], "previous-tag", "a fact")
	assert.NotContains(t, m["Release"], "text", "a private field")
	assert.Equal(t, "Images", m["Images"]["with-mirror"].result)
}

// The tables of functions in the README have every function and no other.
func TestTablesOfFunctions(t *testing.T) {
	m := readModule(t)
	_, text, found := strings.Cut(pages(t)["README.md"], "\n## Functions\n")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "\n## ")
	tables := regexp.MustCompile(`(?m)^\|---\|---\|$`).Split(text, -1)
	require.Len(t, tables, 5)
	for i, of := range []string{"Gantry", "Release", "Images", "Image"} {
		var listed []string
		for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \| (.*) \|$`).FindAllStringSubmatch(tables[i+1], -1) {
			if strings.HasPrefix(row[1], "of ") {
				break // the head of the next table
			}
			for _, call := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
				words := strings.Fields(call[1])
				listed = append(listed, words[0])
				for _, flag := range words[1:] {
					assert.Contains(t, m[of][words[0]].flags, flag, "%s of %s", words[0], of)
				}
			}
			for _, flag := range regexp.MustCompile("`(--[a-z-]+)").FindAllStringSubmatch(row[2], -1) {
				f := m[of][strings.Fields(strings.Trim(row[1], "`"))[0]]
				_, known := f.flags[flag[1]]
				_, shared := m[""]["new"].flags[flag[1]]
				assert.True(t, known || shared, "%s in the row of %s", flag[1], row[1])
			}
		}
		var functions []string
		for name := range m[of] {
			functions = append(functions, name)
		}
		assert.ElementsMatch(t, functions, listed, of)
	}
}

// The page of the configuration has every setting of a call.
func TestSettingsOfACall(t *testing.T) {
	_, text, found := strings.Cut(pages(t)["docs/configuration.md"], "\n## Settings of a call\n")
	require.True(t, found)
	for flag := range readModule(t)[""]["new"].flags {
		assert.Contains(t, text, "`"+flag+"`")
	}
}
