package contract

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "dagger/gantry/"

// graph lists the packages that build container graphs; all others are pure.
var graph = []string{"ci/engine", "ci/release", "ci/release/toolchain", "ci/release/changelog", "ci/image", "ci/rehearse/play"}

// goPackage holds the fields of go list's output that the rules read.
type goPackage struct {
	ImportPath, ForTest string
	Deps                []string
}

// packages returns each package below ci/ with everything that it imports, directly
// or not, its tests included.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-test", "-json=ImportPath,ForTest,Deps", "./ci/...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	require.NoError(t, err)
	deps := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		name := p.ImportPath
		if p.ForTest != "" {
			name = p.ForTest
		}
		name = strings.TrimPrefix(strings.TrimSuffix(name, ".test"), module)
		for _, d := range p.Deps {
			d, _, _ = strings.Cut(d, " ")
			if d, ours := strings.CutPrefix(d, module); ours && d != name {
				deps[name] = append(deps[name], d)
			}
		}
	}
	return deps
}

func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// violations returns every import that the rules forbid, as "package imports package":
// neither phase imports the other, and ci/published, which both use, imports neither.
func violations(deps map[string][]string) []string {
	var found []string
	for name, imports := range deps {
		// These two test both phases together.
		if below(name, "ci/contract") || below(name, "ci/e2e") {
			continue
		}
		shared := below(name, "ci/published")
		for _, d := range imports {
			phase := below(d, "ci/release") || below(d, "ci/image")
			crossing := below(name, "ci/release") && below(d, "ci/image") || below(name, "ci/image") && below(d, "ci/release")
			impure := below(d, "internal") && !slices.Contains(graph, name)
			outward := below(d, "ci/e2e") || below(d, "ci/rehearse") && !below(name, "ci/rehearse")
			if crossing || impure || outward || shared && phase {
				found = append(found, name+" imports "+d)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// The two phases share the contract only, and decisions need no engine.
func TestImports(t *testing.T) {
	deps := packages(t)
	require.Greater(t, len(deps), 20, "go list found too few packages")
	require.Contains(t, deps["ci/release"], "internal/dagger", "the graph packages import the generated client")
	assert.Empty(t, violations(deps))
}

func TestImportsFindsViolations(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"ci/release/plan", "ci/image/oci"},
		{"ci/release", "ci/image"},
		{"ci/image", "ci/release/toolchain"},
		{"ci/image/oci", "ci/release/dist"},
		{"ci/github", "internal/dagger"},
		{"ci/release/plan", "internal/dagger"},
		{"ci/image/reconcile", "ci/rehearse/play"},
		{"ci/published", "ci/image/oci"},
		{"ci/published", "ci/release/dist"},
	} {
		assert.Equal(t, []string{c.from + " imports " + c.to}, violations(map[string][]string{c.from: {"ci/version", c.to}}))
	}
}
