package contract

import (
	"flag"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"dagger/gantry/ci/target"
)

// TestMain chooses how many projects are tried, and a seed that can be printed.
func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": "500", "rapid.seed": strconv.FormatUint(rand.Uint64()>>1|1, 10), "rapid.nofailfile": "true"} {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}

// TestReadyMeansReady: a plan without errors packs, its parts merge into a
// release that phase 2 reads, and its image assembles, is the one that the plan
// showed and has its program. The package's documentation says how to try more
// projects than by default.
func TestReadyMeansReady(t *testing.T) {
	tried, ready, images := 0, 0, 0
	rapid.Check(t, func(r *rapid.T) {
		tried++
		p := randomProject(r)
		planned, err := p.plan()
		if err != nil || planned.Err() != nil {
			return
		}
		ready++
		dir, err := os.MkdirTemp("", "ready-")
		require.NoError(r, err)
		defer os.RemoveAll(dir)
		// What only the build can tell is warned of: then it turns out well.
		dynamic := rapid.Bool().Draw(r, "dynamic") && !warned(planned, "statically linked")
		got, err := release(t.Context(), dir, planned, dynamic)
		if err != nil {
			r.Fatalf("ready to release, and then: %v\n%s", err, planned.Text())
		}
		if got.image != nil {
			images++
		}
	})
	t.Logf("seed %s: %d projects, %d ready and released, %d of them with an image", flag.Lookup("rapid.seed").Value, tried, ready, images)
	// A property that nothing has holds of nothing.
	require.Greater(t, ready, tried/3)
	require.Greater(t, images, tried/4)
}

// likely draws one of the usual values, and now and then one of the odd ones.
func likely[T any](r *rapid.T, label string, usual []T, odd ...T) T {
	if len(odd) > 0 && rapid.IntRange(0, 24).Draw(r, label+"?") == 17 { // rapid prefers small numbers
		return rapid.SampledFrom(odd).Draw(r, label)
	}
	return rapid.SampledFrom(usual).Draw(r, label)
}

// maybe does something in one of n cases.
func maybe(r *rapid.T, label string, n int, do func()) {
	if rapid.IntRange(1, n).Draw(r, label) == n {
		do()
	}
}

// wild is text that no list foresees.
func wild(r *rapid.T, label string) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune("aAzZ09._-/+:@#= \\\x00\x01ößé~")), 1, 12, -1).Draw(r, label)
}

var (
	someNames    = []string{"app", "appctl", "server", "my_tool", "tool-2", "daemon"}
	oddNames     = []string{"license", "config", "größe", "App", "a.b", "-x", "app-", "README", "a b", "con", "CHANGELOG.md"}
	someTargets  = []string{"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl", "x86_64-pc-windows-gnu", "s390x-unknown-linux-gnu"}
	someVersions = []string{"1.0.0", "0.3.7", "1.2.0-rc.1", "2.0.0-beta2", "10.20.30", "1.0.0-1"}
	oddVersions  = []string{"1.0.0-rc-", "1.0.0+build", "1.0.0-rc.lock", "1.0.0-" + strings.Repeat("a", 125), "0.0.0"}
	someFiles    = []string{"LICENSE", "README.md", "LICENSE-MIT", "config/app.toml", "config/deep/b.toml", "docs/guide.md", "man/app.1", "completions/app.bash", "NOTICE"}
	oddFiles     = []string{"License", "Readme.md", "app/x", "server/y", "docs/a\x01b", "C:x", `docs/a\b`, "docs/ü.md", "docs/a b.md", "docs/Guide.md", "appctl", "bin/.wh.x", "Config/app.toml", "app.exe"}
	someImages   = []string{"ghcr.io/acme/app", "registry.example.com:5000/acme/app", "docker.io/acme/app", "localhost:5000/app"}
	oddImages    = []string{"ghcr.io/Acme/app", "acme/app", "ghcr.io/acme/app:1", "https://ghcr.io/acme/app", "ghcr.io", "ghcr.io/acme//app", "ghcr.io/a"}
	someBases    = []string{"debian:bookworm-slim", "gcr.io/distroless/cc-debian12", "gcr.io/distroless/static-debian12:debug", "scratch", "alpine:3.22", "ghcr.io/acme/base@sha256:" + strings.Repeat("0", 64)}
	oddBases     = []string{"debian 12", "debian:", "Debian", "ghcr.io/acme/base@sha256:0", "a//b", "-x", "debian:bookworm:slim"}
	somePrefixes = []string{"app-", "rust/app/", "app@", "v", "app_"}
	oddPrefixes  = []string{"app.", "app+", "app#", "größe-", "app=", "a..b-", "-app", "app 1"}
)

// randomProject draws a workspace of one to three packages, its files,
// configuration, history and tag.
func randomProject(r *rapid.T) *project {
	p := single()
	p.workspace, p.packages, p.files = table{}, nil, []string{"Cargo.toml", "Cargo.lock"}
	all := target.All()
	maybe(r, "targets", 2, func() {
		p.workspace["targets"] = rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) string { return likely(r, "triple", someTargets, all...) }), 1, 4, rapid.ID[string]).Draw(r, "triples")
	})
	number := likely(r, "version", someVersions, oddVersions...)
	names := rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) string { return likely(r, "name", someNames, oddNames...) }), 1, 3, rapid.ID[string]).Draw(r, "packages")
	prefix, first := "", names[0]
	for i, name := range names {
		dir := "crates/" + name
		if len(names) == 1 {
			dir = "."
		}
		bins := []string{name}
		maybe(r, "more binaries", 3, func() {
			bins = rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) string {
				return likely(r, "binary", []string{name, name + "d", name + "-admin"}, oddNames...)
			}), 1, 3, rapid.ID[string]).Draw(r, "binaries")
		})
		config := table{}
		maybe(r, "prefix", 6, func() {
			own := likely(r, "tag-prefix", somePrefixes, oddPrefixes...)
			config["tag-prefix"] = own
			if i == 0 {
				prefix = own
			}
		})
		maybe(r, "name of the component", 12, func() { config["name"] = likely(r, "name", someNames, append(oddNames, wild(r, "wild"))...) })
		own := randomFiles(r)
		maybe(r, "include of the package", 4, func() { config["include"] = someGlobs(r, own) })
		p.packages = append(p.packages, crate(name, number, dir, config, bins...))
		p.files = append(p.files, path.Join(dir, "Cargo.toml"))
		for _, f := range own {
			p.files = append(p.files, path.Join(dir, f))
		}
	}
	top := randomFiles(r)
	p.files = append(p.files, top...)
	slices.Sort(p.files)
	p.files = slices.Compact(p.files)
	p.packages[0]["repository"] = likely(r, "repository",
		[]string{"https://github.com/acme/app", "http://github.com/acme/app.git", "git@github.com:acme/app.git", ""},
		"see README", "github.com/acme/app", "ssh://git@ssh.github.com:443/acme/app", wild(r, "wild"))
	p.packages[0]["description"] = likely(r, "description", []string{"", "Streams <messages> & more", "Two\nlines"}, "\x00", " ")
	if len(names) == 1 || rapid.Bool().Draw(r, "image of the workspace") {
		maybe(r, "image", 1+rapid.IntRange(0, 1).Draw(r, "no image"), func() { p.workspace["image"] = randomImage(r, names[0], top) })
	}
	maybe(r, "include", 3, func() { p.workspace["include"] = someGlobs(r, top) })
	maybe(r, "archive", 4, func() {
		p.workspace["archive"] = likely(r, "template", []string{"{name}-{version}-{target}", "{name}_{os}_{arch}_{libc}", "{tag}-{target}", "v{version}-{target}"},
			"{name}", "{name} {target}", ".{target}", strings.Repeat("a", 240)+"{target}", wild(r, "wild")+"{target}")
	})
	maybe(r, "policy", 6, func() { p.workspace["prerelease"] = "core" })
	for _, tag := range rapid.SliceOfN(rapid.SampledFrom([]string{"v0.9.0", "v0.9.1+build", "app-0.1.0", "0.2.0", "v99.0.0", "nightly", "rust/app/0.1.0"}), 0, 3).Draw(r, "tags") {
		p.tagged(tag)
	}
	switch rapid.IntRange(0, 5).Draw(r, "tag") {
	case 0:
		p.tag = first + "-" + number
	case 1:
		p.tag = number
	case 2:
		p.tag = prefix + "v" + number
	default:
		p.tag = prefix + number
		if prefix == "" {
			p.tag = "v" + number
		}
	}
	return p
}

func randomFiles(r *rapid.T) []string {
	return rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) string {
		return likely(r, "file", someFiles, append(oddFiles, "docs/"+strings.ReplaceAll(wild(r, "wild"), "/", ""))...)
	}), 0, 6, rapid.ID[string]).Draw(r, "files")
}

// someGlobs matches some of the files, as a rule.
func someGlobs(r *rapid.T, files []string) []string {
	usual := []string{"Cargo.toml"}
	for _, f := range files {
		if f == path.Clean(f) && !strings.ContainsAny(f, `\*[{?`) {
			usual = append(usual, f, path.Dir(f)+"/*")
		}
	}
	return rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) string {
		return likely(r, "glob", usual, "**/*.md", "nope/*", "*", "C*", "**", "docs", "..", "[")
	}), 1, 2, rapid.ID[string]).Draw(r, "globs")
}

func randomImage(r *rapid.T, name string, files []string) table {
	image := table{}
	set := func(key string, n int, value func() any) {
		maybe(r, key, n, func() { image[key] = value() })
	}
	texts := func(label string, most int, usual []string, odd ...string) any {
		return rapid.SliceOfN(rapid.Custom(func(r *rapid.T) string { return likely(r, label, usual, odd...) }), 1, most).Draw(r, label)
	}
	set("repositories", 3, func() any { return texts("repository", 2, someImages, append(oddImages, wild(r, "wild"))...) })
	set("base", 4, func() any { return likely(r, "base", someBases, append(oddBases, wild(r, "wild"))...) })
	set("user", 5, func() any {
		return likely(r, "user", []string{"65532:65532", "1000", "nobody", "root:root"}, "app", "0:0:0", "nobody:wheel", wild(r, "wild"))
	})
	set("expose", 5, func() any {
		return texts("port", 2, []string{"8080", "53/udp", "443/tcp"}, "http", "0", "65536", "80/http")
	})
	set("workdir", 6, func() any {
		return likely(r, "workdir", []string{"/srv", "/var/lib/app/"}, "srv", "/srv/..", "//", wild(r, "wild"))
	})
	set("labels", 5, func() any {
		return table{likely(r, "label", []string{"org.example.team", "org.opencontainers.image.title"}, "org.opencontainers.image.version", "a b", "a=b", wild(r, "wild")): "x"}
	})
	set("env", 5, func() any {
		return table{likely(r, "variable", []string{"RUST_LOG", "PATH"}, "A=B", "A B", wild(r, "wild")): likely(r, "value", []string{"info", ""}, "\x00")}
	})
	set("platforms", 6, func() any {
		return texts("platform", 2, []string{"linux/amd64", "linux/arm64"}, "amd64", "linux/s390x", "linux/arm/v7", "windows/amd64")
	})
	set("entrypoint", 4, func() any {
		return []string{likely(r, "entrypoint", []string{"/usr/local/bin/" + name, name}, "", "/usr/bin/tini", "./app", name+"d", wild(r, "wild")), "serve"}
	})
	set("include", 4, func() any {
		from := []string{name}
		for _, f := range files {
			if f == "LICENSE" || f == "README.md" || f == "NOTICE" {
				from = append(from, f)
			}
		}
		return table{likely(r, "from", from, "../x", "nope", "", "config", "config/", wild(r, "wild")): likely(r, "to", []string{"/etc/app", "/usr/share/doc/app/", "/opt/x"}, "/lib/x", "etc", "/", "/usr/local/bin/"+name, "/etc/.wh.x", "/tmp/x", wild(r, "wild"))}
	})
	set("tags", 6, func() any {
		return table{
			"floating": rapid.Bool().Draw(r, "floating"), "prefix": likely(r, "tags' prefix", []string{"v", "app-"}, "-v", "1", wild(r, "wild")),
			"suffix": likely(r, "tags' suffix", []string{"-alpine", "_x"}, "+x", "-", ".1", wild(r, "wild")),
		}
	})
	set("smoke", 6, func() any {
		return rapid.SampledFrom([]table{{"skip": true}, {"args": []string{"check"}}, {"expect": "fine"}, {"skip": true, "expect": "fine"}, {}}).Draw(r, "smoke")
	})
	return image
}
