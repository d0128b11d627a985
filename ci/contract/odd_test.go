package contract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/release/plan"
)

// odd is a source or a configuration that is unlike most.
type odd struct {
	name   string
	change func(p *project)
	// says is what the plan's errors have, the value and the fix among it; none
	// where the project can be released.
	says []string
	// check looks at the release.
	check func(t *testing.T, p *plan.Plan, r *released)
}

func refused(name string, change func(*project), says ...string) odd {
	return odd{name: name, change: change, says: says}
}

func works(name string, change func(*project), check func(*testing.T, *plan.Plan, *released)) odd {
	return odd{name: name, change: change, check: check}
}

// set returns a change of one key of the first package's image.
func set(key string, value any) func(*project) {
	return func(p *project) { p.image()[key] = value }
}

func repository(address string) func(*project) {
	return func(p *project) { p.packages[0]["repository"] = address }
}

func publishedAt(page string) func(*testing.T, *plan.Plan, *released) {
	return func(t *testing.T, _ *plan.Plan, r *released) { assert.Equal(t, page, r.manifest.Repository) }
}

// include puts more files into the source and into the archives.
func include(files ...string) func(*project) {
	return func(p *project) {
		p.files = append(p.files, files...)
		p.config()["include"] = files
	}
}

// prefixed gives the package a tag prefix, and releases it by it.
func prefixed(prefix string) func(*project) {
	return func(p *project) {
		p.config()["tag-prefix"] = prefix
		p.tag = prefix + "1.0.0"
	}
}

// numbered gives the package a version, and releases it.
func numbered(number string) func(*project) {
	return func(p *project) {
		p.packages[0]["version"], p.tag = number, "v"+number
	}
}

// binaries of the first package.
func binaries(names ...string) func(*project) {
	return func(p *project) {
		p.packages[0]["targets"] = crate("x", "1.0.0", ".", nil, names...)["targets"]
	}
}

func all(changes ...func(*project)) func(*project) {
	return func(p *project) {
		for _, change := range changes {
			change(p)
		}
	}
}

// targets of the release.
func targets(triples ...string) func(*project) {
	return func(p *project) { p.workspace["targets"] = triples }
}

var oddities = []odd{
	// Addresses of the repository.
	works("http repository", repository("http://github.com/acme/app"), publishedAt("https://github.com/acme/app")),
	works("scp-like repository", repository("git@github.com:acme/app.git"), publishedAt("https://github.com/acme/app")),
	works("git repository", repository("git://github.com/acme/app.git"), publishedAt("https://github.com/acme/app")),
	works("repository without a scheme", repository("github.com/acme/app"), publishedAt("https://github.com/acme/app")),
	works("ssh repository through port 443", repository("ssh://git@ssh.github.com:443/acme/app"), publishedAt("https://github.com/acme/app")),
	works("repository with a token", repository("https://me:secret@github.com/acme/app"), publishedAt("https://github.com/acme/app")),
	works("no repository", repository(""), publishedAt("")),
	refused("repository that is no address", repository("see README"), `repository "see README" of Cargo.toml is not the URL of a web page`, "write it like https://github.com/owner/name"),
	refused("repository on disk", repository("file:///srv/git/app"), `repository "file:///srv/git/app"`, "write it like"),
	refused("http repository on a port", repository("http://git.example.com:3000/acme/app"), `repository "http://git.example.com:3000/acme/app"`, "write it like"),

	// Tags, versions and names.
	works("previous tag with build metadata", func(p *project) { p.tagged("v0.9.0+build.1") }, func(t *testing.T, _ *plan.Plan, r *released) {
		assert.NotContains(t, r.manifest.PreviousTag, "+")
	}),
	refused("prefix that ends in a period", prefixed("app."), `tag prefix "app."`, `"app-"`),
	refused("prefix with a plus", prefixed("app+"), `tag prefix "app+"`, `"app-"`),
	refused("prefix with a number sign", prefixed("app#"), `tag prefix "app#"`, `"app-"`),
	refused("prefix with an equals sign", prefixed("app="), `tag prefix "app="`, `"app-"`),
	refused("prefix in other letters", prefixed("größe-"), `tag prefix "größe-"`, "tag-prefix"),
	works("prefix with a slash", prefixed("rust/app/"), func(t *testing.T, _ *plan.Plan, r *released) { assert.Equal(t, "rust/app/1.0.0", r.manifest.Tag) }),
	works("prefix with an at sign", prefixed("app@"), func(t *testing.T, _ *plan.Plan, r *released) { assert.Equal(t, "app@1.0.0", r.manifest.Tag) }),
	refused("version that ends in a dash", numbered("1.0.0-rc-"), `"v1.0.0-rc-"`, "end it in a letter or a digit"),
	refused("version that git forbids in tags", numbered("1.0.0-rc.lock"), `"v1.0.0-rc.lock" ends in ".lock", which git refuses`),
	refused("version that no image tag can be", numbered("1.0.0-"+strings.Repeat("a", 130)), strings.Repeat("a", 130), "128"),
	works("version without letters", numbered("1.0.0-1"), func(t *testing.T, _ *plan.Plan, r *released) { assert.Equal(t, "prerelease", r.manifest.Channel) }),
	refused("binary in other letters", binaries("größe"), `binary "größe" is not a name of letters`, "rename it", "bins"),
	refused("binary that ends in a dash", binaries("app-"), `binary "app-"`, `rename it, to "app"`),
	refused("package in other letters", func(p *project) { p.packages[0] = crate("größe", "1.0.0", ".", table{"name": "app"}, "app") }, `package "größe"`, "rename it"),
	refused("component in other letters", func(p *project) { p.config()["name"] = "größe" }, `component name "größe"`, "rename it"),
	refused("component with a space", func(p *project) { p.config()["name"] = "my app" }, `tag prefix "my app-" has a character that git forbids in tags`),
	refused("binaries that differ in case", binaries("app", "App"), `binary "App" and binary "app" differ only in case`, "rename"),

	// Files and archives.
	refused("licenses that differ in case", func(p *project) { p.files = append(p.files, "License") }, `file "LICENSE" and file "License" differ only in case`, "rename or remove one"),
	refused("readmes that differ in case", func(p *project) { p.files = append(p.files, "Readme.md") }, `file "README.md" and file "Readme.md" differ only in case`, "rename or remove one"),
	works("a package's license and one of the workspace in another case", func(p *project) {
		p.packages[0] = crate("app", "1.0.0", "app", table{}, "app")
		p.files = append(p.files, "app/Cargo.toml", "app/License")
	}, func(t *testing.T, p *plan.Plan, _ *released) {
		assert.Contains(t, p.Extra, plan.Extra{Source: "app/License", Path: "License"})
	}),
	refused("a package called license", func(p *project) { p.packages[0] = crate("license", "1.0.0", ".", table{}, "license") }, `binary "license" and file "LICENSE" differ only in case`, "rename or remove one"),
	refused("a file like the binary", include("app"), `binary "app" and file "app" would have the same path in the archives`, "remove the file from include"),
	refused("a directory like the binary", include("app/config.toml"), `file "app/config.toml" needs the directory "app" in the archives, but that is binary "app"`, "rename one of them"),
	refused("a directory like the binary in another case", include("App/config.toml"), `file "App/config.toml" needs the directory "app"`, "rename one of them"),
	works("a directory like the binary of Windows", all(targets("x86_64-pc-windows-gnu"), include("app/config.toml")), nil),
	refused("includes that differ in case", include("a/Notes.txt", "a/notes.txt"), `file "a/Notes.txt" and file "a/notes.txt" differ only in case`, "rename or remove one"),
	refused("an include with a control character", func(p *project) {
		p.files = append(p.files, "docs/a\x01b")
		p.config()["include"] = []string{"docs"}
	}, `file "docs/a\x01b" can't be in an archive`, "control character", "remove it from include"),
	refused("an include that Windows reads as a drive", include("C:x"), `file "C:x" can't be in an archive`, "drive letter", "rename it"),
	refused("an include with a backslash", func(p *project) {
		p.files = append(p.files, `docs/a\b`)
		p.config()["include"] = []string{"docs"}
	}, `file "docs/a\\b" can't be in an archive`, "backslash", "rename it"),
	works("an include with a space and other letters", include("docs/Übersicht für alle.txt"), nil),
	refused("too many includes", func(p *project) {
		for i := range 10_001 {
			p.files = append(p.files, fmt.Sprintf("data/%05d", i))
		}
		p.config()["include"] = []string{"data"}
	}, "files and directories; the limit is 10000", "include fewer"),
	refused("a long archive name", func(p *project) { p.workspace["archive"] = strings.Repeat("a", 240) + "{target}" }, "has 271 characters, more than 255", "change the archive template"),
	refused("an archive name with a space", func(p *project) { p.workspace["archive"] = "my {name}-{target}" }, `archive name "my app-x86_64-unknown-linux-gnu.tar.gz" is not a name that GitHub keeps`, "archive template"),
	refused("one archive name for all", func(p *project) { p.workspace["archive"] = "{name}" }, `the same archive "app.tar.gz"`, "add {target} to the archive template"),
	refused("an archive name that starts with a period", func(p *project) { p.workspace["archive"] = ".{name}-{target}" }, `archive name ".app-x86_64-unknown-linux-gnu.tar.gz" is not a name that GitHub keeps`, "change the archive template"),

	// The image: how values are written.
	refused("image repository in upper case", set("repositories", []string{"ghcr.io/Acme/App"}), `"ghcr.io/Acme/App" is not a repository`, `write it in lower case, "ghcr.io/acme/app"`),
	refused("image repository without a host", set("repositories", []string{"acme/app"}), `repository "acme/app" names no registry`, `write it like "ghcr.io/acme/app"`),
	refused("image repository with a tag", set("repositories", []string{"ghcr.io/acme/app:latest"}), `"ghcr.io/acme/app:latest"`, `omit the tag, as in "ghcr.io/acme/app"`),
	refused("image repository as a URL", set("repositories", []string{"https://ghcr.io/acme/app"}), `"https://ghcr.io/acme/app"`, `omit "https://"`),
	refused("image repository twice", set("repositories", []string{"ghcr.io/acme/app", "ghcr.io/acme/app"}), `"ghcr.io/acme/app" appears twice`),
	works("image repository with a port", set("repositories", []string{"registry.example.com:5000/acme/app"}), nil),
	works("image repository of this machine", set("repositories", []string{"localhost:5000/app"}), func(t *testing.T, p *plan.Plan, _ *released) {
		assert.True(t, warned(p, `repository "localhost:5000/app" is on a local host`))
	}),
	refused("user of three parts", set("user", "0:0:0"), `user of the image configuration: "0:0:0" is not a user like 65532:65532`),
	refused("user that the base doesn't know", set("user", "app"), `the base image has no user "app"`, "write numbers"),
	works("user of the base", set("user", "nobody"), nil),
	works("user of another base", all(set("user", "app"), set("base", "debian:bookworm-slim")), nil),
	refused("port with a name", set("expose", []string{"http"}), `expose[0] of the image configuration: "http" is not a port like 8080/tcp`),
	refused("port above all", set("expose", []string{"8080", "65536/tcp"}), `expose[1] of the image configuration: 65536 is not a port: ports end at 65535`),
	refused("port of another protocol", set("expose", []string{"80/http"}), `"80/http" is not a port like 8080/tcp`),
	refused("platform without a system", set("platforms", []string{"amd64"}), `"amd64" is not a platform like linux/amd64`),
	refused("relative working directory", set("workdir", "srv"), `workdir of the image configuration: "srv" is not an absolute path`),
	refused("working directory that climbs", set("workdir", "/srv/../etc"), `"/srv/../etc" is not in its shortest form, "/etc"`),
	refused("base with a space", set("base", "debian 12"), `base of the image configuration: "debian 12" is not an image reference`),
	refused("base without its tag", set("base", "debian:"), `base "debian:" is not an image reference`, "write it like debian:bookworm-slim"),
	works("base of this machine", set("base", "127.0.0.1:5000/base:1"), func(t *testing.T, p *plan.Plan, _ *released) {
		assert.True(t, warned(p, `base "127.0.0.1:5000/base:1" is on a local host`))
	}),
	refused("base in upper case", set("base", "Debian"), `base "Debian" is not an image reference`, "write it like"),
	refused("label with a space", set("labels", table{"my label": "x"}), `"my label" is not a name without "=" and spaces`),
	refused("label that Gantry sets", set("labels", table{"org.opencontainers.image.version": "2"}), `Gantry sets label "org.opencontainers.image.version" from the release, so it can't be set: remove it`),
	works("label that describes", set("labels", table{"org.opencontainers.image.title": "App"}), nil),
	refused("variable with an equals sign", set("env", table{"A=B": "c"}), `env of the image configuration: "A=B" is not a name without "="`),
	refused("prefix of image tags", set("tags", table{"prefix": "-v"}), `tags.prefix of the image configuration: "-v" is not`),
	refused("suffix of image tags", set("tags", table{"suffix": "+alpine"}), `tags.suffix of the image configuration: "+alpine" is not`),
	works("tags and smoke test", all(set("tags", table{"floating": false, "suffix": "-alpine"}), set("smoke", table{"args": []string{"check"}, "expect": "fine"})), func(t *testing.T, _ *plan.Plan, r *released) {
		assert.Equal(t, "1.1", r.manifest.SchemaVersion)
	}),
	refused("smoke test that is skipped and not", set("smoke", table{"skip": true, "expect": "fine"}), "smoke of the image configuration: skip is true", "remove either"),

	// The image: what is in it.
	refused("two binaries and no entrypoint", all(binaries("one", "two"), set("user", "1")), "any of one, two may be the entrypoint", `set entrypoint = ["/usr/local/bin/one"]`),
	works("two binaries, and no image asked for", binaries("one", "two"), func(t *testing.T, p *plan.Plan, r *released) {
		assert.Nil(t, r.image)
		assert.True(t, warned(p, "any of one, two may be the entrypoint"))
	}),
	works("two binaries, one of the component's name", all(binaries("app", "appctl"), set("user", "1")), func(t *testing.T, p *plan.Plan, _ *released) {
		assert.Contains(t, p.Text(), "/usr/local/bin/app  (the binary with the component's name; set entrypoint to choose another)")
	}),
	refused("entrypoint that is not there", set("entrypoint", []string{"/usr/local/bin/ap"}), `entrypoint "/usr/local/bin/ap" is not in the image; did you mean "/usr/local/bin/app"?`),
	refused("entrypoint of the source", set("entrypoint", []string{"target/release/app"}), `entrypoint "target/release/app" is not in the image`, "/usr/local/bin"),
	refused("entrypoint with an empty element", set("entrypoint", []string{""}), "entrypoint of the image configuration: an element is empty"),
	works("entrypoint by name", set("entrypoint", []string{"app", "serve"}), nil),
	works("entrypoint of the base", all(set("entrypoint", []string{"/usr/bin/tini", "--", "app"}), set("base", "debian:bookworm-slim")), nil),
	refused("include in a place that is a link", all(include("config/app.toml"), set("include", table{"config": "/lib/app"})), `"/lib/app/app.toml" is below "/lib"`, "use another place, such as /usr/lib/app/app.toml"),
	refused("include in a place of the runtime", set("include", table{"LICENSE": "/tmp/"}), `"/tmp/LICENSE" is below "/tmp"`, "use another place"),
	refused("image include that is in no archive", set("include", table{"config": "/etc/app"}), `include "config" is not in the archives`, "add it to the include of [package.metadata.gantry]"),
	works("image include", all(include("config/app.toml"), set("include", table{"config": "/etc/app", "LICENSE": "/usr/share/doc/app/"})), nil),
	refused("image include to a relative place", set("include", table{"LICENSE": "etc/app"}), `include "LICENSE" goes to "etc/app", which is not an absolute path`),
	refused("image includes in one place", set("include", table{"LICENSE": "/etc/app", "README.md": "/etc/app"}), `both "LICENSE" and "README.md" go to "/etc/app"`, "move one of them with include"),
	refused("image include over the binary", set("include", table{"LICENSE": "/usr/local/bin/app"}), `both "app" and "LICENSE" go to "/usr/local/bin/app"`, "move one of them with include"),
	refused("image include below a file", set("include", table{"LICENSE": "/etc/app", "README.md": "/etc/app/README.md"}), `"README.md" goes to "/etc/app/README.md", below the file that "LICENSE" becomes`, "move one of them with include"),
	refused("image include that deletes", set("include", table{"LICENSE": "/etc/.wh.passwd"}), `"/etc/.wh.passwd" would delete a file`, "rename it"),
	refused("image include that climbs", set("include", table{"../LICENSE": "/etc/app"}), `"../LICENSE"`, "use a relative path"),
	refused("platform that isn't built", set("platforms", []string{"linux/amd64", "linux/arm64"}), `no archive for platform "linux/arm64", only for linux/amd64`, "release a target for it, or remove it"),
	works("one platform of two", all(targets("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"), set("platforms", []string{"linux/arm64"})), func(t *testing.T, _ *plan.Plan, r *released) {
		assert.Len(t, r.image.Platforms, 1)
	}),
	refused("platform that the default base lacks", all(targets("i686-unknown-linux-gnu"), set("user", "1")), `the default base images have no platform "linux/386"`, "set base to an image that has it"),
	works("platform that another base has", all(targets("i686-unknown-linux-gnu"), set("base", "debian:bookworm-slim")), nil),
	refused("an image without Linux", all(targets("x86_64-pc-windows-gnu"), set("user", "1")), "has no archive for Linux", "release a Linux target"),
	works("no Linux, and no image", targets("x86_64-pc-windows-gnu"), func(t *testing.T, p *plan.Plan, r *released) {
		assert.Nil(t, p.ContainerImage)
		assert.Nil(t, r.image)
	}),
	works("an empty base", all(targets("x86_64-unknown-linux-musl"), set("base", "scratch")), nil),

	// Types, all of them at once.
	refused("values of other types", func(p *project) {
		p.image()["expose"], p.image()["user"] = 8080, 1000
		p.config()["bins"] = "app"
	}, `key "image.expose" must be an array of strings, not the number 8080`, `key "image.user" must be a string, not the number 1000`, `key "bins" must be an array of strings, not a string`),
}

// TestOdd says of each odd project whether it is refused, by the plan and with
// the value and the fix, or released, to the last byte of its image.
func TestOdd(t *testing.T) {
	require.GreaterOrEqual(t, len(oddities), 40)
	for _, o := range oddities {
		t.Run(o.name, func(t *testing.T) {
			p := single()
			o.change(p)
			planned, err := p.plan()
			if err == nil {
				err = planned.Err()
			}
			if len(o.says) > 0 {
				require.Error(t, err, "it is ready to release")
				for _, says := range o.says {
					assert.ErrorContains(t, err, says)
				}
				return
			}
			require.NoError(t, err)
			for _, dynamic := range []bool{true, false} {
				r, err := release(t.Context(), t.TempDir(), planned, dynamic)
				require.NoError(t, err)
				if o.check != nil {
					o.check(t, planned, r)
				}
			}
		})
	}
}

// What only the build can tell is refused by the packer, before anything is
// uploaded, and the plan warned of it.
func TestPackRefuses(t *testing.T) {
	for _, c := range []struct{ base, warns, says string }{
		{"scratch", `image: platform "linux/amd64": binary "app" of "x86_64-unknown-linux-gnu" is dynamic, and "scratch" has no loader`, "release a static target (musl), or set base"},
		{"alpine:3.22", `needs the C library gnu, and "alpine:3.22" has musl`, "set base to an image with gnu"},
	} {
		p := single()
		targets("x86_64-unknown-linux-gnu")(p)
		set("base", c.base)(p)
		planned, err := p.plan()
		require.NoError(t, err)
		require.NoError(t, planned.Err())
		assert.True(t, warned(planned, c.warns), planned.Text())
		_, err = release(t.Context(), t.TempDir(), planned, true)
		require.ErrorContains(t, err, "pack: ")
		assert.ErrorContains(t, err, c.says)
		_, err = release(t.Context(), t.TempDir(), planned, false)
		assert.NoError(t, err, "a static one starts anywhere")
	}
}
