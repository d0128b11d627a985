package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	verb = regexp.MustCompile(`"?%(\[\d+\])?[+#]?[a-z]"?`)
	// gap is a value in a message, with what may be around it.
	gap = regexp.MustCompile(`"?…"?`)
)

// texts returns the texts in the module's code, with … for each value.
func texts(t *testing.T) []string {
	t.Helper()
	var found []string
	paths, err := filepath.Glob(filepath.Join(root, "*.go"))
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "ci"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			paths = append(paths, path)
		}
		return err
	}))
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				found = append(found, verb.ReplaceAllString(text, "…"))
			}
			return true
		})
	}
	return found
}

// inCode reports whether a message is in the code: its fixed text in one place, or its
// message and its hint in two.
func inCode(message string, code []string) bool {
	message = gap.ReplaceAllString(message, "…")
	whole := func(message string) bool {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(message), "…", "[^\n]*")
		r := regexp.MustCompile(pattern)
		for _, text := range code {
			if r.MatchString(text) {
				return true
			}
		}
		return false
	}
	before, after, hint := strings.Cut(message, ": pass ")
	return whole(message) || hint && whole(before) && whole("pass "+after)
}

// Every message on the page of errors is in the code.
func TestErrorsPage(t *testing.T) {
	code := texts(t)
	require.Greater(t, len(code), 1000)
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(pages(t)["docs/errors.md"], -1)
	require.Greater(t, len(rows), 40)
	for _, row := range rows {
		fixed := strings.ReplaceAll(row[1], "…", "")
		assert.Greater(t, len(fixed), 10, "%q says too little to be found", row[1])
		assert.True(t, inCode(row[1], code), "no message of the code is %q", row[1])
	}
	assert.False(t, inCode("tag … is broken", code))
	assert.True(t, inCode("a … has b: pass c", []string{"a … has b", "pass c"}))
	assert.False(t, inCode("a … has b: pass d", []string{"a … has b", "pass c"}))
}
