package plan

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// However a workspace is made up, no package with a binary gets lost: tags of its
// own release it, or those of the workspace do, or the plan says why not. And
// each tag of a component is read as that component's.
func TestNoPackageGetsLost(t *testing.T) {
	absorbed, refused, helpers, wholes := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.Permutation([]string{"app", "app-cli", "server", "xtask", "lib"}).Draw(t, "names")
		names = names[:rapid.IntRange(1, len(names)).Draw(t, "packages")]
		var packages []table
		var members []string
		mustHave, switchedOff := map[string]bool{}, map[string]bool{}
		for _, name := range names {
			gantry := table{}
			if rapid.IntRange(0, 2).Draw(t, "prefixed") == 0 {
				gantry["tag-prefix"] = rapid.SampledFrom([]any{name + "-", []string{name + "/", "old-" + name + "-"}}).Draw(t, "prefix")
			}
			if release := rapid.SampledFrom([]string{"", "", "", "true", "false"}).Draw(t, "release"); release != "" {
				gantry["release"] = release == "true"
				switchedOff[name] = release == "false"
			}
			if rapid.IntRange(0, 9).Draw(t, "renamed") == 0 {
				gantry["name"] = "renamed"
			}
			bins := []string{name}
			if name == "lib" {
				bins = nil
				delete(gantry, "tag-prefix")
			}
			p := pkg(name, "1.0.0", name, gantry, bins...)
			p["repository"] = rapid.SampledFrom([]any{"", "https://github.com/o/app", "https://github.com/o/tools/tree/main/x"}).Draw(t, "repository")
			if rapid.IntRange(0, 2).Draw(t, "unpublished") == 0 {
				p["publish"] = []string{}
			}
			packages, members = append(packages, p), append(members, p["id"].(string))
			mustHave[name] = name != "lib"
		}
		workspace := table{}
		if rapid.IntRange(0, 3).Draw(t, "named") == 0 {
			workspace["name"] = rapid.SampledFrom([]string{"suite", "server"}).Draw(t, "name")
		}
		raw, err := json.Marshal(table{"packages": packages, "workspace_members": members, "workspace_root": "/src", "metadata": table{"gantry": workspace}})
		require.NoError(t, err)
		p, err := Load(raw, "/src", []string{"Cargo.toml", "Cargo.lock"})
		if err != nil {
			refused++
			return
		}
		absorbed += len(p.absorbed)
		for name := range mustHave {
			if !mustHave[name] {
				continue
			}
			released, leftOut := false, false
			for _, c := range p.Components {
				released = released || slices.Contains(packageNames(c), name)
				leftOut = leftOut || slices.ContainsFunc(c.LeftOut, func(l LeftOut) bool { return l.Package == name && l.Why != "" })
			}
			if !released && !leftOut {
				// With no component that tags without a prefix release, there is no
				// plan to say it.
				require.Truef(t, switchedOff[name] || name == "xtask", "package %q is lost", name)
			}
			require.Falsef(t, released && switchedOff[name], "package %q is released", name)
		}
		unprefixed := 0
		for _, c := range p.Components {
			if c.Whole {
				wholes++
				require.Greater(t, len(c.Packages), 1)
			} else {
				require.Len(t, c.Packages, 1)
			}
			if slices.Contains(c.Prefixes, "") {
				unprefixed++
			}
			if c.helper != "" {
				helpers++
				require.NotContains(t, c.Prefixes, "")
			}
			for _, prefix := range c.Prefixes {
				for _, v := range []string{"", "v"} {
					tag, err := p.Scheme.Parse(prefix + v + "1.0.0")
					require.NoError(t, err)
					require.Equal(t, c.Name, tag.Component)
				}
			}
			plan, err := p.Plan(c.newTag("1.0.0"), clean(), nil)
			require.NoError(t, err)
			require.NoError(t, plan.Err())
			var built []string
			for _, b := range plan.Targets[0].Binaries {
				built = append(built, b.Package)
			}
			require.Equal(t, packageNames(c), built)
		}
		require.LessOrEqual(t, unprefixed, 1, "a tag has one reading")
	})
	for what, n := range map[string]int{"absorbed packages": absorbed, "refused workspaces": refused, "helpers": helpers, "releases of several": wholes} {
		if n == 0 {
			t.Errorf("the generated workspaces had no %s", what)
		}
	}
}

// packageNames returns the names of a component's packages.
func packageNames(c *Component) []string {
	var names []string
	for _, pkg := range c.Packages {
		names = append(names, pkg.Name)
	}
	return names
}
