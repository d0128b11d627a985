package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/release/toolchain"
	"dagger/gantry/internal/dagger"
)

// workspace is an opened source.
type workspace struct {
	project *plan.Project
	git     plan.Git

	client *dagger.Client
	source *dagger.Directory
	// history is the source's .git. It comes from the upload, of which the engine knows
	// the digest of each directory: it would read anything made of it.
	history   *dagger.Directory
	toolchain toolchain.Toolchain
	settings  Settings
	facts     *toolchain.Facts
	cache     string
}

// open reads a source.
func open(ctx context.Context, settings Settings) (*workspace, error) {
	client, source := settings.Client, settings.Source
	dir, err := cargo.ManifestDir(settings.ManifestPath)
	if err != nil {
		return nil, err
	}
	if settings.Git != nil {
		if source, err = gitTree(ctx, client, settings.Git); err != nil {
			return nil, err
		}
	}
	if err := find(ctx, source, dir); err != nil {
		return nil, err
	}
	configs, err := strippedConfigs(ctx, source)
	if err != nil {
		return nil, err
	}
	w := &workspace{
		client: client, source: configs.in(source, ""), history: configs.in(source.Directory(".git"), ".git/"), settings: settings,
		toolchain: toolchain.Toolchain{Client: client, Custom: settings.Toolchain, Logins: settings.Logins},
	}
	// The module's argument excludes the one at the top, but Dagger 0.19 sends it.
	w.source = w.source.WithoutDirectory(path.Join(dir, "target"))
	if settings.Toolchain == nil {
		if w.toolchain.Channel, err = channel(ctx, w.source, dir); err != nil {
			return nil, err
		}
	}
	if w.facts, err = w.toolchain.Inspect(ctx, w.source, dir); err != nil {
		return nil, err
	}
	w.git = w.facts.Git
	if exports := w.git.TakeExports(w.facts.Files); len(exports) > 0 {
		w.source = w.source.WithoutFiles(exports)
		w.facts.Files = slices.DeleteFunc(w.facts.Files, func(f string) bool { return slices.Contains(exports, f) })
	}
	if w.project, err = plan.Load(w.facts.Metadata, toolchain.SrcDir, w.facts.Files); err != nil {
		return nil, err
	}
	w.project.BadLinks, w.project.Lock, w.project.Rustc = w.facts.BadLinks, w.facts.Lock, w.facts.Rustc
	w.project.CustomToolchain = settings.Toolchain != nil
	w.cache = cacheName(w.project, w.facts.System, settings.Cache)
	return w, nil
}

// find reports whether a directory of the source has a Cargo.toml, as an error.
func find(ctx context.Context, source *dagger.Directory, dir string) error {
	entries, err := entriesOf(ctx, source, ".")
	if err != nil {
		return fmt.Errorf("read the source: %v", err)
	}
	manifest := path.Join(dir, "Cargo.toml")
	if dir != "." {
		// It may not be there, which the search below reports.
		inDir, _ := entriesOf(ctx, source, dir)
		if slices.Contains(inDir, "Cargo.toml") {
			return nil
		}
	} else if slices.Contains(entries, "Cargo.toml") {
		return nil
	}
	found, err := source.Glob(ctx, "**/Cargo.toml")
	if err != nil {
		return fmt.Errorf("look for Cargo.toml: %v", err)
	}
	if slices.Contains(found, manifest) {
		return nil
	}
	return cargo.NoManifest(manifest, found, entries)
}

// gitConfigs are files of a source's .git with their new content, by their paths.
type gitConfigs map[string]string

// strippedConfigs applies [plan.StripCredentials] to the configuration of the source's
// repository: nothing that runs in a container sees a token that a CI system wrote
// there. It returns the files that have credentials, without them.
func strippedConfigs(ctx context.Context, source *dagger.Directory) (gitConfigs, error) {
	top, err := source.Entries(ctx)
	if err != nil || !slices.Contains(top, ".git/") {
		return nil, err
	}
	git, err := entriesOf(ctx, source, ".git")
	if err != nil {
		return nil, fmt.Errorf("read .git: %v", err)
	}
	var names []string
	for _, name := range []string{"config", "config.worktree"} {
		if slices.Contains(git, name) {
			names = append(names, ".git/"+name)
		}
	}
	if slices.Contains(git, "modules") {
		found, err := source.Directory(".git/modules").Glob(ctx, "**/config")
		if err != nil {
			return nil, fmt.Errorf("look for the configuration of submodules: %v", err)
		}
		for _, f := range found {
			names = append(names, path.Join(".git/modules", f))
		}
	}
	configs := gitConfigs{}
	for _, name := range names {
		config, err := source.File(name).Contents(ctx)
		if err != nil {
			return nil, fmt.Errorf("read %s: %v", name, err)
		}
		if stripped := plan.StripCredentials(config); stripped != config {
			configs[name] = stripped
		}
	}
	return configs, nil
}

// in returns a directory that is at a path of the source, with the new content.
func (c gitConfigs) in(dir *dagger.Directory, at string) *dagger.Directory {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		dir = dir.WithNewFile(strings.TrimPrefix(name, at), c[name])
	}
	return dir
}

// entriesOf lists a directory of the source, without the slash after directories.
func entriesOf(ctx context.Context, source *dagger.Directory, dir string) ([]string, error) {
	if dir != "." {
		source = source.Directory(dir)
	}
	entries, err := source.Entries(ctx)
	for i, e := range entries {
		entries[i] = strings.TrimSuffix(e, "/")
	}
	return entries, err
}

// channel returns the Rust release for the workspace in a directory of the source.
func channel(ctx context.Context, source *dagger.Directory, dir string) (string, error) {
	var toolchain string
	// rustup also looks in the directories above, and prefers the file without suffix
	// ("Overrides", The rustup book).
	for d := dir; toolchain == ""; d = path.Dir(d) {
		entries, err := entriesOf(ctx, source, d)
		if err != nil {
			return "", fmt.Errorf("read directory %q of the source: %v", d, err)
		}
		for _, name := range []string{"rust-toolchain", "rust-toolchain.toml"} {
			if toolchain != "" || !slices.Contains(entries, name) {
				continue
			}
			if toolchain, err = source.File(path.Join(d, name)).Contents(ctx); err != nil {
				return "", fmt.Errorf("read %q: %v", name, err)
			}
		}
		if d == "." {
			break
		}
	}
	manifest, err := source.File(path.Join(dir, "Cargo.toml")).Contents(ctx)
	if err != nil {
		return "", fmt.Errorf("read Cargo.toml: %v", err)
	}
	return cargo.Channel(toolchain, manifest)
}

// cacheName returns a name of build caches for the packages of the project, the
// system that the toolchain runs on, and the caller's namespace.
func cacheName(p *plan.Project, system, namespace string) string {
	names := []string{system, namespace}
	for _, c := range p.Components {
		for _, pkg := range c.Packages {
			names = append(names, pkg.Name)
		}
	}
	slices.Sort(names[2:])
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return hex.EncodeToString(sum[:6])
}
