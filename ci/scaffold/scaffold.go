// Package scaffold makes the files that a CI needs to release a project with Gantry:
// phase 1 for a pushed tag, phase 2 after it and on its own, and what finds problems
// before a tag.
//
// It is pure. It keeps one invariant: a value of a run, such as a tag or a token,
// reaches a shell script as an environment variable only, and every action of a
// workflow has a full commit as its version.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"dagger/gantry/ci/notation"
)

// CI is a provider of continuous integration, or a script for any other.
type CI string

// The providers.
const (
	GitHub    CI = "GITHUB"
	GitLab    CI = "GITLAB"
	Forgejo   CI = "FORGEJO"
	CircleCI  CI = "CIRCLECI"
	Buildkite CI = "BUILDKITE"
	Jenkins   CI = "JENKINS"
	Script    CI = "SCRIPT"
)

// Options are the choices of the caller.
type Options struct {
	CI CI
	// Module is the address of Gantry. Without a version, it gets Version.
	Module string
	// Version of Gantry.
	Version string
	// Image is the repository to publish images to, unless Cargo.toml has some. By
	// default, it is that of the project on ghcr.io.
	Image string
	// WithoutImages omits phase 2.
	WithoutImages bool
	// Keyless signs with the identity of the CI instead of a key.
	Keyless bool
}

// Project has the facts of a project that its files depend on.
type Project struct {
	// Repository on GitHub, as owner/name.
	Repository string
	// GitHub is the address of a GitHub Enterprise, or empty.
	GitHub string
	// ManifestPath is the path of the workspace's Cargo.toml, or empty for the one at
	// the top.
	ManifestPath string
	// Files of the repository.
	Files []string
	// TagPrefixes are those of the tags to release, such as "" or "server-".
	TagPrefixes []string
	// Images are the image repositories in Cargo.toml.
	Images []string
	// Unplaced are the components with an image and no repository in Cargo.toml.
	Unplaced []string
}

// File is a file of the project, by its path from the top of the repository.
type File struct {
	Path, Text string
	Executable bool
}

// Permissions returns the file's mode.
func (f File) Permissions() int {
	if f.Executable {
		return 0o755
	}
	return 0o644
}

// layout is a file of a provider and its template.
type layout struct {
	path, template string
	// images marks a file of phase 2 only, and entry one that the project may have
	// for other purposes, which is then left to it. keyed marks a file of phase 2 whose
	// jobs are in another file without a key, so that both have one identity.
	images, entry, keyed, executable bool
}

//go:embed templates
var templates embed.FS

var layouts = map[CI][]layout{
	GitHub: {
		{path: ".github/workflows/images.yml", template: "github/images.yml", images: true},
		{path: ".github/workflows/reconcile.yml", template: "github/reconcile.yml", images: true, keyed: true},
		{path: ".github/workflows/rehearse.yml", template: "github/rehearse.yml"},
		{path: ".github/workflows/release.yml", template: "github/release.yml"},
	},
	GitLab: {
		{path: ".gitlab-ci.yml", template: "gitlab/gitlab-ci.yml", entry: true},
		{path: ".gitlab/gantry.yml", template: "gitlab/gantry.yml"},
	},
	Forgejo: {
		{path: ".forgejo/workflows/reconcile.yml", template: "forgejo/reconcile.yml", images: true},
		{path: ".forgejo/workflows/rehearse.yml", template: "forgejo/rehearse.yml"},
		{path: ".forgejo/workflows/release.yml", template: "forgejo/release.yml"},
	},
	CircleCI:  {{path: ".circleci/config.yml", template: "circleci/config.yml"}},
	Buildkite: {{path: ".buildkite/pipeline.yml", template: "buildkite/pipeline.yml"}},
	Jenkins:   {{path: "Jenkinsfile", template: "jenkins/Jenkinsfile"}},
	Script:    {{path: "release.sh", template: "script/release.sh", executable: true}},
}

// Files returns the files of a project, sorted by path.
func Files(o Options, p Project) ([]File, error) {
	list, known := layouts[o.CI]
	if !known {
		return nil, fmt.Errorf("CI %q is unknown: use one of %v", o.CI, slices.Sorted(maps.Keys(layouts)))
	}
	v, err := newValues(o, p)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, l := range list {
		if l.images && !v.Images || l.keyed && v.Identity != "" || l.entry && slices.Contains(p.Files, l.path) {
			continue
		}
		text, err := v.render(l.template)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: l.path, Text: text, Executable: l.executable})
	}
	return files, nil
}

// Superseded returns the paths of the project's files that an earlier call made, and whose
// jobs the options put into another file. A file that init didn't make is the project's
// own. read returns the text of a file.
func Superseded(o Options, p Project, read func(path string) (string, error)) ([]string, error) {
	var paths []string
	for _, l := range layouts[o.CI] {
		if !l.keyed || !o.Keyless || o.WithoutImages || !slices.Contains(p.Files, l.path) {
			continue
		}
		text, err := read(l.path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %v", l.path, err)
		}
		if made(text) {
			paths = append(paths, l.path)
		}
	}
	return paths, nil
}

// made reports whether init made a workflow. The head of each has the same sentence, in
// one line or in two.
func made(text string) bool {
	words := strings.Fields(strings.ReplaceAll(text, "#", " "))
	return strings.Contains(strings.Join(words, " "), "Gantry's init made this file.")
}

// daggerVersion is the version of the Dagger CLI that the files install: the oldest
// that works, as in dagger.json.
const daggerVersion = "v0.19.10"

// pins are the actions that workflows use: a commit, which nobody can move, and the
// version that it has.
type pins struct{ Checkout, InstallDagger, UploadArtifact, DownloadArtifact, Attest string }

var pinnedActions = pins{
	Checkout:         "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
	InstallDagger:    "dagger/dagger-for-github@27b130bf0f79a7f6fbbbe0fbca6760dc9bb40a77 # v8.4.1",
	UploadArtifact:   "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0",
	DownloadArtifact: "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1",
	Attest:           "actions/attest@1e69f48acb82d1966a394da916b4c1698aa569d6 # v4.2.2",
}

// values fill the templates.
type values struct {
	pins
	Module, Dagger, Repository, GitHub, ManifestPath string
	// Tags match the tags to release, in the notation of GitHub's filters.
	Tags []string
	// TagPattern matches them as a regular expression.
	TagPattern string
	// Images is true if phase 2 is wanted.
	Images bool
	// Image is the repository of images, or empty if Cargo.toml has them.
	Image  string
	Logins []login
	// Identity has the arguments that sign with the identity of the CI, or is empty.
	Identity string
}

// login names the environment variables that log in to a registry. Name is their
// prefix.
type login struct{ Registry, Name, User, Password string }

// Credential returns the name of the login among Jenkins' credentials.
func (l login) Credential() string { return strings.ReplaceAll(strings.ToLower(l.Name), "_", "-") }

var (
	modulePattern  = regexp.MustCompile(`^[A-Za-z0-9./_~][A-Za-z0-9./_:@~+#-]*$`)
	addressPattern = regexp.MustCompile(`^https?://[A-Za-z0-9.:/-]+$`)
	publicPattern  = regexp.MustCompile(`^https://(api[.])?github[.]com/?$`)
	pathPattern    = regexp.MustCompile(`^[A-Za-z0-9._][A-Za-z0-9._/-]*$`)
	slugPattern    = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
	prefixPattern  = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._/@-]*)?$`)
)

// newValues checks the options and the facts, and derives the rest.
func newValues(o Options, p Project) (*values, error) {
	v := &values{
		pins: pinnedActions, Dagger: daggerVersion, Repository: p.Repository, GitHub: p.GitHub, ManifestPath: p.ManifestPath, Images: !o.WithoutImages,
	}
	if v.GitHub == "" {
		v.GitHub = "https://github.com"
	}
	var errs []error
	if !slugPattern.MatchString(p.Repository) {
		errs = append(errs, fmt.Errorf("repository %q is not owner/name: pass --repository=owner/name", p.Repository))
	}
	if !modulePattern.MatchString(o.Module) {
		errs = append(errs, fmt.Errorf("module %q is not the address of a Dagger module: pass the one that you call, such as --module=github.com/owner/gantry@v%s", o.Module, o.Version))
	}
	if !addressPattern.MatchString(v.GitHub) {
		errs = append(errs, fmt.Errorf("--github=%s is not an address like https://github.example.com", v.GitHub))
	}
	if p.ManifestPath != "" && !pathPattern.MatchString(p.ManifestPath) {
		errs = append(errs, fmt.Errorf(`path %q of Cargo.toml has a character with a meaning in shell scripts: rename its directory, with letters, digits, ".", "_" and "-"`, p.ManifestPath))
	}
	v.Module = pinned(o.Module, o.Version)
	for _, prefix := range p.TagPrefixes {
		if !prefixPattern.MatchString(prefix) {
			errs = append(errs, fmt.Errorf(`tag prefix %q has a character with a meaning in the filters of a CI: use letters, digits, ".", "_", "-", "/" and "@"`, prefix))
		}
	}
	v.Tags, v.TagPattern = filters(p.TagPrefixes)
	if o.Keyless {
		errs = append(errs, v.identify(o.CI))
	}
	if v.Images {
		errs = append(errs, v.place(o, p))
	}
	return v, errors.Join(errs...)
}

// pinned returns the address of a module with a version. A local path has none.
func pinned(module, version string) string {
	_, path, found := strings.Cut(module, "://")
	if !found {
		path = module
	}
	path = strings.TrimPrefix(path, "git@")
	if strings.HasPrefix(module, ".") || strings.HasPrefix(module, "/") || strings.Contains(path, "@") {
		return module
	}
	return module + "@v" + version
}

// filters returns the filters of the tags with the prefixes: one for each as GitHub
// writes them, and a regular expression for all. A slash would end the expression in
// some files, so a dot stands for it: Gantry itself refuses what it matches too much.
func filters(prefixes []string) (globs []string, pattern string) {
	prefixes = slices.Compact(slices.Sorted(slices.Values(prefixes)))
	var named []string
	for _, p := range prefixes {
		globs = append(globs, p+"v?[0-9]+.[0-9]+.[0-9]+*")
		if p != "" {
			named = append(named, strings.ReplaceAll(p, "/", "."))
		}
	}
	pattern = "^"
	if len(named) > 0 {
		pattern += "(" + strings.Join(named, "|") + ")"
		if len(named) < len(prefixes) {
			pattern += "?"
		}
	}
	return globs, pattern + "v?[0-9]+[.][0-9]+[.][0-9]+.*"
}

// identities are the arguments that sign with the identity of a CI, for those whose jobs
// have one that Sigstore knows.
var identities = map[CI]string{
	GitHub: "--oidc-request-url=env:ACTIONS_ID_TOKEN_REQUEST_URL --oidc-request-token=env:ACTIONS_ID_TOKEN_REQUEST_TOKEN",
	GitLab: "--identity-token=env:SIGSTORE_ID_TOKEN",
}

// identify has the files sign with the identity of a CI.
func (v *values) identify(ci CI) error {
	identity, found := identities[ci]
	if !found {
		return fmt.Errorf("--keyless is for --ci=github and --ci=gitlab, not for --ci=%s: omit it, and add --signing-key to publish in the files to sign with a key",
			strings.ToLower(string(ci)))
	}
	if ci == GitHub && !publicPattern.MatchString(v.GitHub) {
		return fmt.Errorf("--keyless is for workflows on github.com, since Sigstore issues no certificates to those on %s: omit it, and set the secret COSIGN_PRIVATE_KEY to sign with a key",
			v.GitHub)
	}
	v.Identity = identity
	return nil
}

// place decides where images go, and by which logins.
func (v *values) place(o Options, p Project) error {
	repositories := p.Images
	switch {
	case o.Image != "" && len(p.Images) > 0:
		return fmt.Errorf("image repository %q was passed, but Cargo.toml has %s: remove one of them", o.Image, strings.Join(p.Images, ", "))
	case len(p.Unplaced) > 1 || len(p.Unplaced) == 1 && len(p.Images) > 0:
		return fmt.Errorf("components %s have no image repository, and two components can't share one: set repositories in [package.metadata.gantry.image] of each, or pass --without-images", strings.Join(p.Unplaced, ", "))
	case len(p.Images) == 0:
		v.Image = o.Image
		if v.Image == "" {
			v.Image = "ghcr.io/" + strings.ToLower(p.Repository)
		}
		if err := notation.ImageRepository.Check(v.Image); err != nil {
			return fmt.Errorf("image repository %w", err)
		}
		repositories = []string{v.Image}
	}
	v.Logins = logins(o.CI, repositories)
	return nil
}

// logins returns the login of each registry. A CI's own registry takes the CI's own
// login. The only other registry has REGISTRY_USERNAME and REGISTRY_PASSWORD; of
// several, each name has the registry in it.
func logins(ci CI, repositories []string) []login {
	var hosts []string
	for _, r := range repositories {
		host, _, _ := strings.Cut(r, "/")
		hosts = append(hosts, host)
	}
	hosts = slices.Compact(slices.Sorted(slices.Values(hosts)))
	var all []login
	for _, host := range hosts {
		own, found := ownLogins[ci]
		if !found || own.Registry != host {
			name := "REGISTRY"
			if len(hosts) > 1 {
				name = strings.ToUpper(unnamed.ReplaceAllString(host, "_"))
			}
			own = login{host, name, name + "_USERNAME", name + "_PASSWORD"}
			if ci == Jenkins {
				own.User, own.Password = name+"_USR", name+"_PSW" // as credentials() names them
			}
		}
		all = append(all, own)
	}
	return all
}

// unnamed matches what the name of a variable can't have.
var unnamed = regexp.MustCompile(`[^A-Za-z0-9]+`)

var ownLogins = map[CI]login{
	GitHub: {"ghcr.io", "GITHUB", "GITHUB_ACTOR", "GITHUB_TOKEN"},
	GitLab: {"registry.gitlab.com", "CI_REGISTRY", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD"},
}

// Flags returns the settings of a call that reads the source.
func (v *values) Flags() string {
	if v.ManifestPath == "" {
		return ""
	}
	return " --manifest-path=" + v.ManifestPath
}

// PushesToGitHub reports whether images go to GitHub's own registry.
func (v *values) PushesToGitHub() bool { return slices.Contains(v.Logins, ownLogins[GitHub]) }

// Secrets returns the variables of the logins that the project has to provide.
func (v *values) Secrets() []string {
	var names []string
	for _, l := range v.Logins {
		if l != ownLogins[GitHub] && l != ownLogins[GitLab] {
			names = append(names, l.User, l.Password)
		}
	}
	return names
}

// render fills a template, which may use the parts that files share. Its delimiters are
// [[ and ]], since workflows have {{.
func (v *values) render(name string) (string, error) {
	t, err := template.New(path.Base(name)).Delims("[[", "]]").Option("missingkey=error").ParseFS(templates, "templates/parts/*", "templates/"+name)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	return out.String(), nil
}
