package e2e

import (
	"compress/zlib"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bill is what the tests read of a bill of materials in CycloneDX.
type bill struct {
	Metadata struct {
		Component struct {
			BOMRef string `json:"bom-ref"`
		}
	}
	Components []struct {
		BOMRef                     string `json:"bom-ref"`
		Name, Version, PURL, Scope string
		Licenses                   []struct{ Expression string }
		Hashes                     []struct{ Content string }
	}
	Dependencies []struct {
		Ref       string
		DependsOn []string
	}
}

func readBill(t *testing.T, dist, stem string) bill {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dist, stem+".cdx.json"))
	require.NoError(t, err)
	var b bill
	require.NoError(t, json.Unmarshal(text, &b))
	require.NotEmpty(t, b.Components)
	require.NotEmpty(t, b.Dependencies)
	return b
}

// crates returns the crates of a bill, of one scope or of all for an empty one.
func (b bill) crates(scope string) []string {
	var all []string
	for _, c := range b.Components {
		if scope == "" || c.Scope == scope {
			all = append(all, c.Name+" v"+c.Version)
		}
	}
	return all
}

// edges returns "from to" for each dependency between crates.
func (b bill) edges(t *testing.T) []string {
	t.Helper()
	names := map[string]string{}
	for _, c := range b.Components {
		names[c.BOMRef] = c.Name + " v" + c.Version
	}
	var all []string
	for _, d := range b.Dependencies {
		for _, on := range d.DependsOn {
			require.Contains(t, names, on)
			if from := names[d.Ref]; from != "" {
				all = append(all, from+" > "+names[on])
			}
		}
	}
	return all
}

// crateTree is what cargo tree prints of a target, in a container of the toolchain.
type crateTree struct {
	all, linked, ofApp, edges []string
	licenses                  map[string]string
}

var treeLine = regexp.MustCompile(`^(\d+)(\S+ v\S+)[^|]*\|([^|]*)\|`)

// readTrees asks Cargo for the crates of each target, and for the license file of one.
func readTrees(t *testing.T, source, features string, targets []string) (map[string]crateTree, string) {
	t.Helper()
	tree := func(kind, target, packages, edges string) string {
		return "echo '== " + kind + " " + target + "'; cargo tree --locked --target " + target + " " + packages + features + " --edges " + edges + " --prefix depth --no-dedupe --format '{p}|{l}|'; "
	}
	script := "set -e; cd /src; "
	for _, target := range targets {
		script += tree("all", target, "-p app -p ctl", "normal,build") + tree("linked", target, "-p app -p ctl", "normal,no-proc-macro") + tree("ofApp", target, "-p app", "normal,build")
	}
	script += "echo '== text'; cat $CARGO_HOME/registry/src/*/itoa-1*/LICENSE-MIT"
	got := call(t, "--source="+source, "toolchain", "--target="+native, "with-directory", "--path=/src", "--source="+source,
		"with-exec", "--args=sh,-c,\""+script+"\"", "stdout")
	require.NoError(t, got.err)
	out, text := map[string]crateTree{}, ""
	for _, part := range strings.Split(got.stdout, "== ")[1:] {
		head, body, _ := strings.Cut(part, "\n")
		kind, target, _ := strings.Cut(head, " ")
		if kind == "text" {
			text = strings.TrimSpace(body)
			continue
		}
		c := out[target]
		var names, edges, parents []string
		licenses := map[string]string{}
		for line := range strings.Lines(body) {
			m := treeLine.FindStringSubmatch(line)
			if m == nil {
				require.Empty(t, strings.TrimSpace(line), "a line of cargo tree")
				continue
			}
			depth := int(m[1][0] - '0')
			parents = append(parents[:depth], m[2])
			if depth > 0 {
				edges = append(edges, parents[depth-1]+" > "+m[2])
			}
			names, licenses[m[2]] = append(names, m[2]), strings.Join(strings.Fields(strings.ReplaceAll(m[3], "/", " OR ")), " ")
		}
		names, edges = unique(names), unique(edges)
		switch kind {
		case "all":
			c.all, c.edges, c.licenses = names, edges, licenses
		case "linked":
			c.linked = names
		case "ofApp":
			c.ofApp = names
		}
		out[target] = c
	}
	return out, text
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// The bills name the crates that Cargo names for each target and for the features, with
// their graph, licenses and checksums; the archives have the license texts, and the
// programs the list of their crates. A second build gives the same bytes.
func TestBillsOfMaterials(t *testing.T) {
	targets := []string{native, foreign, "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"}
	source := filepath.Join(t.TempDir(), "bills")
	require.NoError(t, os.CopyFS(source, os.DirFS("testdata/bills")))
	commit(t, source, "v1.0.0")
	export := func(args ...string) string {
		t.Helper()
		out := filepath.Join(t.TempDir(), "dist")
		require.NoError(t, call(t, append(append([]string{"--source=" + source}, args...), "release", "--tag=v1.0.0", "dist", "export", "--path="+out)...).err)
		return out
	}
	out := export()
	plain := checkBills(t, source, out, "", targets)
	assert.NotContains(t, plain[native], "ryu", "its feature is off")
	assert.NotContains(t, plain[native], "cfg-if", "it is for another architecture")
	assert.Contains(t, plain[foreign], "cfg-if")
	again := export("--cache-namespace=" + time.Now().String())
	assert.Equal(t, sums(t, out), sums(t, again), "a build from nothing has the same bytes")

	text, err := os.ReadFile(filepath.Join(source, "Cargo.toml"))
	require.NoError(t, err)
	write(t, source, map[string]string{"Cargo.toml": string(text) + "features = [\"extra\"]\n"})
	run(t, source, "git", "tag", "-d", "v1.0.0")
	commit(t, source, "v1.0.0")
	extra := checkBills(t, source, export(), " --features app/extra", targets)
	assert.Contains(t, extra[native], "ryu")
}

// checkBills compares the bills, the notices and the lists of a dist with what Cargo
// says, and returns the names of the crates of each target.
func checkBills(t *testing.T, source, out, features string, targets []string) map[string][]string {
	t.Helper()
	trees, mit := readTrees(t, source, features, targets)
	require.Len(t, trees, len(targets))
	require.NotEmpty(t, mit)
	files := unpack(t, out)
	names := map[string][]string{}
	for _, target := range targets {
		want, stem := trees[target], "app-1.0.0-"+target
		got := readBill(t, out, stem)
		assert.ElementsMatch(t, want.all, got.crates(""), "cargo tree --target %s%s", target, features)
		assert.ElementsMatch(t, want.linked, got.crates("required"), "in the programs of %s", target)
		assert.ElementsMatch(t, want.edges, got.edges(t), target)
		notices, err := os.ReadFile(filepath.Join(files, stem, "THIRD-PARTY-LICENSES"))
		require.NoError(t, err)
		assert.Contains(t, string(notices), mit)
		for _, c := range got.Components {
			names[target] = append(names[target], c.Name)
			require.Len(t, c.Licenses, 1, c.Name)
			assert.Equal(t, want.licenses[c.Name+" v"+c.Version], c.Licenses[0].Expression, c.Name)
			own := slices.Contains([]string{"app", "ctl", "macros"}, c.Name)
			assert.Equal(t, own, c.PURL == "", c.Name)
			assert.Equal(t, own, len(c.Hashes) == 0, c.Name)
			listed := strings.Contains("\n"+string(notices), "\n"+c.Name+" "+c.Version+"\n")
			assert.Equal(t, c.Scope == "required" && !own, listed, "%s in the notices", c.Name)
		}
		checkList(t, filepath.Join(files, stem, "app"), want.ofApp)
		spdx, err := os.ReadFile(filepath.Join(out, stem+".spdx.json"))
		require.NoError(t, err)
		for _, c := range got.Components {
			assert.Contains(t, string(spdx), `"name": "`+c.Name+`"`)
		}
	}
	return names
}

// checkList reads the list of crates in a program, as cargo audit does.
func checkList(t *testing.T, program string, want []string) {
	t.Helper()
	f, err := elf.Open(program)
	require.NoError(t, err)
	defer f.Close()
	section := f.Section(".dep-v0")
	require.NotNil(t, section, "%s has no list of crates", program)
	z, err := zlib.NewReader(section.Open())
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	var list struct {
		Packages []struct {
			Name, Version, Source, Kind string
			Root                        bool
		}
	}
	require.NoError(t, json.Unmarshal(text, &list))
	var have, roots []string
	for _, p := range list.Packages {
		have = append(have, p.Name+" v"+p.Version)
		if p.Root {
			roots = append(roots, p.Name)
		}
		assert.Contains(t, []string{"crates.io", "local"}, p.Source, p.Name)
	}
	assert.ElementsMatch(t, want, have, program)
	assert.Equal(t, []string{"app"}, roots)
}
