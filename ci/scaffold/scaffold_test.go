package scaffold

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the expected files anew")

// providers and the directories of their expected files.
var providers = map[CI]string{
	GitHub: "github", GitLab: "gitlab", Forgejo: "forgejo", CircleCI: "circleci", Buildkite: "buildkite", Jenkins: "jenkins", Script: "script",
}

var (
	options = Options{Module: "github.com/owner/gantry", Version: "0.1.0"}
	project = Project{Repository: "Example/app", TagPrefixes: []string{"", "app-"}, Unplaced: []string{"app"}}
)

// variants are the options of the expected files, by the directories of these: each
// provider, also without a key where that is possible.
func variants() map[string]Options {
	all := map[string]Options{}
	for ci, dir := range providers {
		o := options
		o.CI = ci
		all[dir] = o
		if identities[ci] != "" {
			o.Keyless = true
			all[dir+"-keyless"] = o
		}
	}
	return all
}

func filesOf(t *testing.T, o Options, p Project) map[string]string {
	t.Helper()
	files, err := Files(o, p)
	require.NoError(t, err)
	texts := map[string]string{}
	for _, f := range files {
		texts[f.Path] = f.Text
	}
	require.Len(t, texts, len(files))
	return texts
}

// For the same project, the files are always the same: those in testdata.
func TestFiles(t *testing.T) {
	require.Len(t, providers, len(layouts))
	require.Len(t, variants(), len(providers)+2)
	for dir, o := range variants() {
		dir = filepath.Join("testdata", dir)
		files, err := Files(o, project)
		require.NoError(t, err)
		if *update {
			require.NoError(t, os.RemoveAll(dir))
		}
		var paths []string
		for _, f := range files {
			paths = append(paths, f.Path)
			path := filepath.Join(dir, f.Path)
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, []byte(f.Text), os.FileMode(f.Permissions())))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err, "go test ./ci/scaffold -update writes it")
			assert.Equal(t, string(want), f.Text, "%s; go test ./ci/scaffold -update writes it anew", path)
			info, err := os.Stat(path)
			require.NoError(t, err)
			assert.Equal(t, info.Mode().Perm()&0o111 != 0, f.Permissions() == 0o755, path)
			assert.Contains(t, []int{0o644, 0o755}, f.Permissions())
		}
		var have []string
		require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				path, err = filepath.Rel(dir, path)
				have = append(have, path)
			}
			return err
		}))
		slices.Sort(have)
		assert.Equal(t, have, paths, "%s: the files are sorted, and all are expected", dir)
	}
}

// The files install the Dagger that the module is written for.
func TestDaggerVersion(t *testing.T) {
	text, err := os.ReadFile("../../dagger.json")
	require.NoError(t, err)
	var config struct{ EngineVersion string }
	require.NoError(t, json.Unmarshal(text, &config))
	assert.Equal(t, config.EngineVersion, daggerVersion)
}

func TestModule(t *testing.T) {
	for given, want := range map[string]string{
		"github.com/owner/gantry":              "github.com/owner/gantry@v0.1.0",
		"github.com/owner/gantry/sub":          "github.com/owner/gantry/sub@v0.1.0",
		"github.com/owner/gantry@v0.2.0":       "github.com/owner/gantry@v0.2.0",
		"github.com/owner/mono/x@x/v0.2.0":     "github.com/owner/mono/x@x/v0.2.0",
		"https://git.example.com/owner/gantry": "https://git.example.com/owner/gantry@v0.1.0",
		"git@github.com:owner/gantry":          "git@github.com:owner/gantry@v0.1.0",
		"ssh://git@github.com/owner/gantry":    "ssh://git@github.com/owner/gantry@v0.1.0",
		"ssh://git@github.com/owner/gantry@v2": "ssh://git@github.com/owner/gantry@v2",
		"../gantry":                            "../gantry",
		"/src/gantry":                          "/src/gantry",
	} {
		o := options
		o.CI, o.Module = Buildkite, given
		assert.Contains(t, filesOf(t, o, project)[".buildkite/pipeline.yml"], `DAGGER_MODULE: "`+want+`"`+"\n", given)
	}
}

// A filter of tags matches what a component can have, and nothing of another kind.
func TestTags(t *testing.T) {
	for _, c := range []struct {
		prefixes    []string
		globs       []string
		match, pass []string
	}{
		{[]string{"", "app-"}, []string{"v?[0-9]+.[0-9]+.[0-9]+*", "app-v?[0-9]+.[0-9]+.[0-9]+*"},
			[]string{"v1.2.3", "1.2.3", "v1.2.3-rc.1", "app-1.2.3", "app-v10.20.30"}, []string{"v1.2", "vv1.2.3", "nightly", "other-1.2.3", "app1.2.3"}},
		{[]string{"server-", "cli-", "cli-"}, []string{"cli-v?[0-9]+.[0-9]+.[0-9]+*", "server-v?[0-9]+.[0-9]+.[0-9]+*"},
			[]string{"server-1.2.3", "cli-v1.2.3"}, []string{"v1.2.3", "my-cli-1.2.3"}},
		{[]string{"go/app/"}, []string{"go/app/v?[0-9]+.[0-9]+.[0-9]+*"}, []string{"go/app/v1.2.3"}, []string{"v1.2.3"}},
		{[]string{""}, []string{"v?[0-9]+.[0-9]+.[0-9]+*"}, []string{"v1.2.3", "0.0.1"}, []string{"a-1.2.3"}},
	} {
		globs, pattern := filters(c.prefixes)
		assert.Equal(t, c.globs, globs)
		assert.NotContains(t, strings.TrimPrefix(pattern, "^"), "/", "it would end the expression")
		// A CI that matches whole tags and one that looks for a match must agree.
		for _, expression := range []string{pattern, "^(?:" + pattern + ")$"} {
			for _, tag := range c.match {
				assert.Regexp(t, expression, tag)
				assert.True(t, matchesGlob(globs, tag), "%q of %q", tag, globs)
			}
			for _, tag := range c.pass {
				assert.NotRegexp(t, expression, tag)
				assert.False(t, matchesGlob(globs, tag), "%q of %q", tag, globs)
			}
		}
	}
}

// Without named prefixes, the expression has no group.
func TestTagPatternOfVersions(t *testing.T) {
	_, pattern := filters([]string{""})
	assert.Equal(t, "^v?[0-9]+[.][0-9]+[.][0-9]+.*", pattern)
}

// matchesGlob reads filters as GitHub documents them ("Filter pattern cheat sheet").
func matchesGlob(globs []string, tag string) bool {
	for _, g := range globs {
		if regexp.MustCompile("^" + strings.NewReplacer(".", `\.`, "*", "[^/]*").Replace(g) + "$").MatchString(tag) {
			return true
		}
	}
	return false
}

// Without images, nothing of phase 2 is left.
func TestWithoutImages(t *testing.T) {
	for _, o := range variants() {
		o.WithoutImages = true
		p := project
		p.Unplaced = []string{"a", "b"} // nobody asks where their images go
		for path, text := range filesOf(t, o, p) {
			assert.NotRegexp(t, `(?i)images|reconcile|registry|dispatch$|phase 2|packages:`, text, path)
		}
	}
	o := options
	o.CI, o.WithoutImages = GitHub, true
	assert.Len(t, filesOf(t, o, project), 2)
}

// Repositories in Cargo.toml are used from the release, and each registry has a login.
func TestImagesOfTheProject(t *testing.T) {
	p := project
	p.Images, p.Unplaced = []string{"quay.io/o/app", "ghcr.io/o/app", "quay.io/o/other"}, nil
	for ci := range providers {
		o := options
		o.CI = ci
		user, password := "_USERNAME", "_PASSWORD"
		if ci == Jenkins {
			user, password = "_USR", "_PSW"
		}
		all := ""
		for path, text := range filesOf(t, o, p) {
			all += text
			assert.NotRegexp(t, `--addresses|IMAGE`, text, path)
		}
		assert.Regexp(t, `--address=quay\.io --username="\$\$?QUAY_IO`+user+`" --secret=env:QUAY_IO`+password, all, ci)
		if ci == GitHub {
			assert.Contains(t, all, `--address=ghcr.io --username="$GITHUB_ACTOR" --secret=env:GITHUB_TOKEN`)
			assert.Contains(t, all, "packages: write")
			assert.Contains(t, all, "QUAY_IO_PASSWORD: ${{ secrets.QUAY_IO_PASSWORD }}")
		} else {
			assert.Regexp(t, `--address=ghcr\.io --username="\$\$?GHCR_IO`+user+`" --secret=env:GHCR_IO`+password, all, ci)
		}
		if ci == Jenkins {
			assert.Contains(t, all, "QUAY_IO = credentials('quay-io')")
		}
	}
}

// A CI's own registry takes the CI's login, and another the secrets of the project.
func TestLogins(t *testing.T) {
	for _, c := range []struct {
		ci            CI
		image         string
		has, hasNever string
	}{
		{GitHub, "", "--addresses=\"$IMAGE\"", "secrets.REGISTRY"},
		{GitHub, "docker.io/example/app", "REGISTRY_PASSWORD: ${{ secrets.REGISTRY_PASSWORD }}", "packages: write"},
		{GitLab, "registry.gitlab.com/example/app", "--secret=env:CI_REGISTRY_PASSWORD", "    REGISTRY_"},
		{GitLab, "", "#   REGISTRY_PASSWORD\n", "env:CI_REGISTRY"},
		{Jenkins, "", "REGISTRY = credentials('registry')", "REGISTRY_USERNAME"},
		{Script, "registry.example.com:5000/app", "--address=registry.example.com:5000 ", "ghcr.io"},
	} {
		o := options
		o.CI, o.Image = c.ci, c.image
		all := ""
		for _, text := range filesOf(t, o, project) {
			all += text
		}
		assert.Contains(t, all, c.has, "%s %s", c.ci, c.image)
		assert.NotContains(t, all, c.hasNever, "%s %s", c.ci, c.image)
		want := c.image
		if want == "" {
			want = "ghcr.io/example/app"
		}
		assert.Contains(t, all, want)
	}
}

// What a call needs to find the workspace and GitHub is in every call that needs it.
func TestSettings(t *testing.T) {
	for ci := range providers {
		o, p := options, project
		o.CI, p.GitHub, p.ManifestPath = ci, "https://github.example.com", "rust/Cargo.toml"
		all := ""
		for _, text := range filesOf(t, o, p) {
			all += text
		}
		calls := regexp.MustCompile(`dagger call (.*)`).FindAllString(all, -1)
		require.GreaterOrEqual(t, len(calls), 3)
		for _, c := range calls {
			assert.Equal(t, strings.Contains(c, "--source=."), strings.Contains(c, "--manifest-path=rust/Cargo.toml"), "%s: %s", ci, c)
			assert.Equal(t, strings.Contains(c, " images "), !strings.Contains(c, "--source"), "%s: %s", ci, c)
			assert.Regexp(t, `--repository="?\$.* --github="?\$`, c)
		}
		// GitHub's runners know their address.
		assert.Equal(t, ci != GitHub, strings.Contains(all, "https://github.example.com"), ci)
	}
}

// A file that a project uses for more is not taken from it.
func TestEntryFiles(t *testing.T) {
	o, p := options, project
	o.CI, p.Files = GitLab, []string{".gitlab-ci.yml", "Cargo.toml"}
	files := filesOf(t, o, p)
	assert.Len(t, files, 1)
	assert.Contains(t, files, ".gitlab/gantry.yml")
	// Those that only Gantry makes are compared.
	p.Files = []string{".gitlab/gantry.yml"}
	assert.Len(t, filesOf(t, o, p), 2)
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		change func(*Options, *Project)
		says   string
	}{
		{func(o *Options, _ *Project) { o.CI = "TRAVIS" }, `CI "TRAVIS" is unknown: use one of [BUILDKITE CIRCLECI FORGEJO GITHUB GITLAB JENKINS SCRIPT]`},
		{func(o *Options, _ *Project) { o.Module = "" }, `module "" is not the address of a Dagger module: pass the one that you call, such as --module=github.com/owner/gantry@v0.1.0`},
		{func(o *Options, _ *Project) { o.Module = "github.com/o/g\"; rm -rf /" }, "is not the address of a Dagger module"},
		{func(_ *Options, p *Project) { p.Repository = "app" }, `repository "app" is not owner/name: pass --repository=owner/name`},
		{func(_ *Options, p *Project) { p.Repository = "o/a$(id)" }, `repository "o/a$(id)" is not owner/name`},
		{func(_ *Options, p *Project) { p.GitHub = "github.example.com" }, "--github=github.example.com is not an address like https://github.example.com"},
		{func(_ *Options, p *Project) { p.ManifestPath = "my crates/Cargo.toml" }, `path "my crates/Cargo.toml" of Cargo.toml has a character with a meaning in shell scripts`},
		{func(_ *Options, p *Project) { p.TagPrefixes = []string{"app+"} }, `tag prefix "app+" has a character with a meaning in the filters of a CI`},
		{func(o *Options, _ *Project) { o.Image = "ghcr.io/o/app:latest" }, `image repository "ghcr.io/o/app:latest" is not a repository like ghcr.io/owner/name`},
		{func(o *Options, p *Project) { o.Image, p.Images = "ghcr.io/o/app", []string{"quay.io/o/app"} },
			`image repository "ghcr.io/o/app" was passed, but Cargo.toml has quay.io/o/app: remove one of them`},
		{func(_ *Options, p *Project) { p.Unplaced = []string{"a", "b"} },
			"components a, b have no image repository, and two components can't share one: set repositories in [package.metadata.gantry.image] of each, or pass --without-images"},
		{func(_ *Options, p *Project) { p.Images, p.Unplaced = []string{"quay.io/o/app"}, []string{"b"} }, "components b have no image repository"},
		{func(o *Options, _ *Project) { o.CI, o.Keyless = CircleCI, true },
			"--keyless is for --ci=github and --ci=gitlab, not for --ci=circleci: omit it, and add --signing-key to publish in the files to sign with a key"},
		{func(o *Options, p *Project) { o.Keyless, p.GitHub = true, "https://github.example.com" },
			"--keyless is for workflows on github.com, since Sigstore issues no certificates to those on https://github.example.com: omit it, and set the secret COSIGN_PRIVATE_KEY to sign with a key"},
		{func(o *Options, p *Project) { o.Keyless, p.GitHub = true, "https://github.com.example.com" }, "--keyless is for workflows on github.com"},
		{func(o *Options, p *Project) { o.Module, p.Repository = "", "" }, "--module=github.com/owner/gantry@v0.1.0"},
		{func(o *Options, p *Project) { o.Module, p.Repository = "", "" }, "pass --repository=owner/name"},
	} {
		o, p := options, project
		o.CI = GitHub
		c.change(&o, &p)
		files, err := Files(o, p)
		require.ErrorContains(t, err, c.says)
		assert.Empty(t, files)
	}
}

// Only a CI whose jobs have an identity that Sigstore knows signs without a key. Releases
// may be on another GitHub than the CI, unless the CI is GitHub's.
func TestKeyless(t *testing.T) {
	for ci := range providers {
		o := options
		o.CI, o.Keyless = ci, true
		files, err := Files(o, project)
		if ci == GitHub || ci == GitLab {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "not for --ci="+strings.ToLower(string(ci))+": ")
		assert.Empty(t, files)
	}
	for ci, addresses := range map[CI][]string{
		GitHub: {"https://github.com", "https://github.com/", "https://api.github.com"},
		GitLab: {"https://github.com", "https://github.example.com"},
	} {
		for _, address := range addresses {
			o, p := options, project
			o.CI, o.Keyless, p.GitHub = ci, true, address
			assert.NotEmpty(t, filesOf(t, o, p), address)
		}
	}
}

// A file of an earlier call that would sign as another workflow is removed, also one that
// was changed since, but no file that init didn't make.
func TestSuperseded(t *testing.T) {
	const path = ".github/workflows/reconcile.yml"
	keyed := options
	keyed.CI = GitHub
	keylessly := keyed
	keylessly.Keyless = true
	own := filesOf(t, keyed, project)[path]
	require.NotEmpty(t, own)
	require.NotContains(t, filesOf(t, keylessly, project), path)
	withoutImages := keylessly
	withoutImages.WithoutImages = true
	gitlab := keylessly
	gitlab.CI = GitLab
	changed := strings.Replace(own, "timeout-minutes: 60", "timeout-minutes: 5", 1)
	require.NotEqual(t, own, changed)
	for name, c := range map[string]struct {
		options Options
		text    string
		want    []string
	}{
		"made by init":        {keylessly, own, []string{path}},
		"changed since":       {keylessly, changed, []string{path}},
		"the head in a line":  {keylessly, "# Publishes images. Gantry's init made this file.\nname: Images\n", []string{path}},
		"another file":        {keylessly, "# Compares our books.\nname: Reconcile\n", nil},
		"not in the project":  {keylessly, "", nil},
		"with a key":          {keyed, own, nil},
		"without images":      {withoutImages, own, nil},
		"of another provider": {gitlab, own, nil},
	} {
		p := project
		p.Files = []string{"Cargo.toml"}
		if c.text != "" {
			p.Files = append(p.Files, path)
		}
		got, err := Superseded(c.options, p, func(read string) (string, error) {
			assert.Equal(t, path, read, name)
			assert.NotEmpty(t, c.text, "%s: there is no file", name)
			return c.text, nil
		})
		require.NoError(t, err, name)
		assert.Equal(t, c.want, got, name)
	}
	p := project
	p.Files = []string{path}
	_, err := Superseded(keylessly, p, func(string) (string, error) { return "", errors.New("no such file") })
	require.EqualError(t, err, "read .github/workflows/reconcile.yml: no such file")
}
