// Package toolchain makes the containers that inspect and compile a Cargo
// workspace.
//
// It is a container graph: it decides nothing that ci/release/plan and ci/target can
// decide, and what runs in a container is one of the scripts beside this file.
// It keeps one invariant: an executable that it returns was named by Cargo in
// the messages of the build that was asked for.
package toolchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/target"
	"dagger/gantry/internal/dagger"
)

// Places in a toolchain container. They are the same on every machine, so that
// no path of one gets into a binary.
const (
	binDir = "/gantry-bin"
	// SrcDir is where the source is while Cargo reads it, and while it builds.
	SrcDir = "/gantry/src"
	input  = "/gantry-input"
	output = "/gantry-out"
)

// Toolchain makes containers with Rust in them.
type Toolchain struct {
	Client *dagger.Client
	// Custom container of the caller's; nil for the official image of Channel.
	Custom *dagger.Container
	// Channel is a release of Rust, "1.96".
	Channel string
}

// Image is the reference of the official image, without digest.
func (t Toolchain) Image() string { return "docker.io/library/rust:" + t.Channel + "-bookworm" }

// Name of the toolchain in a plan.
func (t Toolchain) Name() string {
	if t.Custom != nil {
		return "custom"
	}
	return t.Image()
}

// Base is the container before anything is added for a target.
func (t Toolchain) Base() *dagger.Container {
	ctr := t.Custom
	if ctr == nil {
		ctr = t.Client.Container().From(t.Image())
	}
	return ctr.WithDirectory(binDir, t.Client.CurrentModule().Source().Directory("ci/release/toolchain"),
		dagger.ContainerWithDirectoryOpts{Include: []string{"*.sh"}})
}

// Digest is the reference of the toolchain's image with its digest, or empty
// for a container of the caller's.
func (t Toolchain) Digest(ctx context.Context) (string, error) {
	if t.Custom != nil {
		return "", nil
	}
	ref, err := t.Client.Container().From(t.Image()).ImageRef(ctx)
	if err != nil {
		return "", fmt.Errorf("find the toolchain image %q: %v; pass --toolchain with a container that has Rust", t.Image(), err)
	}
	return ref, nil
}

// Facts of a workspace.
type Facts struct {
	Metadata []byte
	// Lock is the text of Cargo.lock, empty if there is none.
	Lock string
	// Files of the whole source.
	Files []string
	// BadLinks are those of the files that are symbolic links and that no archive
	// can have, and what is wrong with each.
	BadLinks map[string]string
	// System identifies what the toolchain's container runs programs with.
	System string
	// Rustc and Cargo are the first lines of what they say of themselves.
	Rustc, Cargo string
	Git          plan.Git
	// NoGit says that the toolchain's container has no git.
	NoGit bool
}

// Inspect asks Cargo for the packages of the workspace in a folder of the source,
// lists the files of the source, and asks git for its state: all in one
// container.
func (t Toolchain) Inspect(ctx context.Context, source *dagger.Directory, dir string) (*Facts, error) {
	out := t.Base().
		WithMountedDirectory(SrcDir, source).
		WithWorkdir(SrcDir).
		WithExec([]string{binDir + "/inspect.sh", output, dir}).
		Directory(output)
	var metadata, lock, list, system, versions, git string
	g, gctx := errgroup.WithContext(ctx)
	for name, text := range map[string]*string{"metadata.json": &metadata, "lock": &lock, "files": &list, "system": &system, "versions": &versions, "git": &git} {
		g.Go(func() error {
			var err error
			*text, err = out.File(name).Contents(gctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		var failed *dagger.ExecError
		if errors.As(err, &failed) {
			if hint := cargo.MemberHint(failed.Stderr, SrcDir); hint != "" {
				return nil, errors.New(hint)
			}
		}
		// Without its image, nothing that the scripts have to say was said.
		if _, missing := t.Digest(ctx); missing != nil {
			return nil, missing
		}
		return nil, engine.Explain("read the workspace", err)
	}
	facts := &Facts{Metadata: []byte(metadata), Lock: lock, System: strings.TrimSpace(system), BadLinks: map[string]string{}}
	facts.Rustc, facts.Cargo, _ = strings.Cut(strings.TrimSpace(versions), "\n")
	for _, line := range strings.Split(strings.TrimSuffix(list, "\n"), "\n") {
		kind, path, _ := strings.Cut(line, " ")
		if strings.Contains(path, `\`) {
			return nil, fmt.Errorf("file name %q has a backslash, which no archive can carry: rename it", path)
		}
		facts.Files = append(facts.Files, path)
		if kind != "file" {
			facts.BadLinks[path] = badLinks[kind]
		}
	}
	sort.Strings(facts.Files)
	var err error
	if facts.NoGit = git == noGit; facts.NoGit {
		if git, err = t.git(ctx, source, dir); err != nil {
			return nil, err
		}
	}
	facts.Git, err = plan.ReadGit(git)
	return facts, err
}

// badLinks are the kinds of them that inspect.sh tells apart.
var badLinks = map[string]string{
	"broken":  "is a broken symlink: fix it or remove it from include",
	"outside": "is a symlink out of the source: replace it with a copy",
}

// noGit is what inspect.sh writes where the container has no git.
const noGit = "no git\n"

// Git is a container that has git: the toolchain's own, if it has.
func (t Toolchain) Git(facts *Facts) *dagger.Container {
	if facts.NoGit {
		t.Custom, t.Channel = nil, cargo.DefaultChannel
	}
	return t.Base()
}

// git reads the facts of the repository in the official image, for a container
// of the caller's without git.
func (t Toolchain) git(ctx context.Context, source *dagger.Directory, dir string) (string, error) {
	facts, err := t.Git(&Facts{NoGit: true}).
		WithMountedDirectory(SrcDir, source).
		WithWorkdir(SrcDir).
		WithExec([]string{binDir + "/git.sh", dir}).
		Stdout(ctx)
	if err != nil {
		return "", engine.Explain("read the git repository", err)
	}
	return facts, nil
}

// withCaches mounts the caches of a build: what is compiled, what Cargo unpacks,
// and the downloaded crates, the only cache that projects share (crates.sh says how).
// None is locked by the engine, which keeps the lock when a call is interrupted:
// build.sh takes one that ends with its process.
func (t Toolchain) withCaches(ctx context.Context, ctr *dagger.Container, name string) (*dagger.Container, error) {
	home, err := cargoHome(ctx, ctr)
	if err != nil {
		return nil, err
	}
	for _, m := range [][2]string{
		{"/gantry", "gantry-" + name},
		{path.Join(home, "registry"), "gantry-registry-" + name},
		{path.Join(home, "git"), "gantry-git-" + name},
		{"/gantry-crates", "gantry-crates"},
	} {
		ctr = ctr.WithMountedCache(m[0], t.Client.CacheVolume(m[1]), dagger.ContainerWithMountedCacheOpts{Sharing: dagger.CacheSharingModeShared})
	}
	return ctr, nil
}

func cargoHome(ctx context.Context, ctr *dagger.Container) (string, error) {
	home, err := ctr.EnvVariable(ctx, "CARGO_HOME")
	if err != nil || home != "" {
		return home, err
	}
	if home, err = ctr.EnvVariable(ctx, "HOME"); err != nil || home != "" {
		return path.Join(home, ".cargo"), err
	}
	return "/root/.cargo", nil
}

// For is the container that builds some targets, with whatever they and their
// configuration need installed, and set.
func (t Toolchain) For(ctx context.Context, builds []plan.Build) (*dagger.Container, error) {
	ctr, env, err := t.prepared(ctx, builds)
	if err != nil {
		return nil, err
	}
	return t.withEnv(ctx, ctr, env)
}

// prepared is the same container, with the variables that are yet to be set.
func (t Toolchain) prepared(ctx context.Context, builds []plan.Build) (*dagger.Container, []target.Variable, error) {
	ctr := t.Base()
	platform, err := ctr.Platform(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("find the toolchain image %q: %v; pass --toolchain with a container that has Rust", t.Name(), err)
	}
	args := []string{binDir + "/prepare.sh"}
	var env []target.Variable
	for _, b := range builds {
		need, err := t.need(b, platform)
		if err != nil {
			return nil, nil, err
		}
		env = append(env, need.Env(b.Target)...)
		args = append(args, b.Target.Triple, need.Linker, strings.Join(need.Packages, " "), need.Specs, need.MuslCC,
			strings.Join(debianPackages(b.Config.Packages, b.Target.Debian), " "), b.Target.Debian)
	}
	return ctr.WithExec(args), env, nil
}

// need is what must be in the container to build, besides Rust.
func (t Toolchain) need(b plan.Build, platform dagger.Platform) (target.Tools, error) {
	tgt := b.Target
	if tgt.External != "" && t.Custom == nil {
		return target.Tools{}, fmt.Errorf("target %q needs %s", tgt.Triple, tgt.External)
	}
	if b.Command != plan.DefaultCargoCommand || tgt.External != "" {
		// The subcommand or the caller's container brings its own linker.
		return target.Tools{}, nil
	}
	return tgt.Tools(tgt.Native(string(platform))), nil
}

// withEnv sets variables; those of a container of the caller's win.
func (t Toolchain) withEnv(ctx context.Context, ctr *dagger.Container, env []target.Variable) (*dagger.Container, error) {
	for _, e := range env {
		if t.Custom != nil {
			if set, err := ctr.EnvVariable(ctx, e.Name); err != nil {
				return nil, err
			} else if set != "" {
				continue
			}
		}
		ctr = ctr.WithEnvVariable(e.Name, e.Value)
	}
	return ctr, nil
}

// debianPackages adds the target's architecture to names without one.
func debianPackages(names []string, debian string) []string {
	var out []string
	for _, n := range names {
		if debian != "" && !strings.Contains(n, ":") {
			n += ":" + debian
		}
		out = append(out, n)
	}
	return out
}

// Options of a build that do not belong to its target.
type Options struct {
	// Dir of the workspace in the source, "." for its top.
	Dir string
	// Epoch is SOURCE_DATE_EPOCH: the commit time in seconds.
	Epoch int64
	// Cache names the caches. It must tell apart whatever may not share programs
	// that Cargo runs while it builds.
	Cache string
	// Hermetic makes the build reuse only what a build of the same inputs left:
	// content of the source, toolchain, environment and commands. Otherwise it
	// reuses what the last build of the project left, whatever its source was.
	Hermetic bool
}

// cache names the caches of a build in a prepared container.
func (t Toolchain) cache(ctx context.Context, ctr *dagger.Container, source *dagger.Directory, opts Options, settings []string) (string, error) {
	if !opts.Hermetic {
		return opts.Cache, nil
	}
	toolchain, err := t.Digest(ctx)
	if err == nil && t.Custom != nil {
		toolchain, err = t.Custom.Rootfs().Digest(ctx)
	}
	if err != nil {
		return "", err
	}
	installed, err := ctr.File("/gantry-prepared").Contents(ctx)
	if err != nil {
		return "", engine.Explain("prepare the toolchain", err)
	}
	content, err := source.Digest(ctx)
	if err != nil {
		return "", fmt.Errorf("find the digest of the source: %v", err)
	}
	text, err := json.Marshal([]any{opts.Cache, toolchain, installed, content, settings})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return "tag-" + hex.EncodeToString(sum[:16]), nil
}

// Output of a build.
type Output struct {
	// Dir has the files of all targets.
	Dir *dagger.Directory
	// Targets, in the order of what was built.
	Targets []TargetOutput
}

// TargetOutput has paths in the folder of the [Output].
type TargetOutput struct {
	// Files of the binaries, in the order of the build's Bins.
	Files []string
	// Run says how each binary ran; nil for targets that were not run.
	Run []string
}

// Build compiles targets that differ in nothing else ([plan.Group]), with one
// call of Cargo.
func (t Toolchain) Build(ctx context.Context, source *dagger.Directory, group []plan.Build, opts Options) (*Output, error) {
	first, doing := group[0], "build "+triples(group)
	ctr, defaults, err := t.prepared(ctx, group)
	if err != nil {
		return nil, err
	}
	platform, err := ctr.Platform(ctx)
	if err != nil {
		return nil, engine.Explain(doing, err)
	}
	// A client's own lock file, which pins the images that modules ask for, is no
	// part of the project.
	exclude := []string{"dagger.lock"}
	if !first.GitDir {
		exclude = append(exclude, ".git")
	}
	source = source.Filter(dagger.DirectoryFilterOpts{Exclude: exclude})
	command := append([]string{first.Command}, first.Args()...)
	var native []string
	for _, b := range group {
		command = append(command, "--target", b.Target.Triple)
		if b.Target.Native(string(platform)) {
			native = append(native, b.Target.Triple)
		}
	}
	// Variables are given to the command, and not to the container one by one:
	// each step of a container is one more to go through whenever the result is
	// looked up in the engine's cache.
	args := []string{"env"}
	for _, name := range sortedKeys(first.Config.Env) {
		args = append(args, name+"="+first.Config.Env[name])
	}
	args = append(args,
		"SOURCE_DATE_EPOCH="+strconv.FormatInt(opts.Epoch, 10),
		"GANTRY_WORKSPACE="+opts.Dir,
		"GANTRY_PRE_BUILD="+first.Config.PreBuild)
	cache, err := t.cache(ctx, ctr, source, opts, append([]string{first.Command}, args...))
	if err != nil {
		return nil, err
	}
	if ctr, err = t.withCaches(ctx, ctr, cache); err != nil {
		return nil, err
	}
	args = append(args,
		"CARGO_TARGET_DIR="+cargo.TargetDir,
		"GANTRY_RUN="+strings.Join(native, " "))
	if first.SBOM {
		args = append(args, "GANTRY_SBOM=true")
	}
	args = append(args, binDir+"/build.sh")
	for _, v := range defaults {
		args = append(args, v.Name+"="+v.Value)
	}
	out := ctr.
		WithMountedDirectory(input, source).
		WithExec(slices.Concat(args, []string{"--"}, command)).
		Directory(output)
	messages, err := out.File("messages").Contents(ctx)
	if err != nil {
		return nil, explainBuild(doing, err)
	}
	result := &Output{Dir: out, Targets: make([]TargetOutput, len(group))}
	for i, b := range group {
		// A call for several targets names the binaries of all of them ("Build cache",
		// The Cargo Book).
		within := ""
		if len(group) > 1 {
			within = cargo.TargetDir + "/" + b.Target.Triple
		}
		executables, err := cargo.Executables(messages, within, b.Bins)
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", b.Target.Triple, err)
		}
		for _, exe := range executables {
			result.Targets[i].Files = append(result.Targets[i].Files, "exe"+exe)
			if slices.Contains(native, b.Target.Triple) {
				result.Targets[i].Run = append(result.Targets[i].Run, "run"+exe)
			}
		}
	}
	return result, nil
}

func triples(group []plan.Build) string {
	var names []string
	for _, b := range group {
		names = append(names, b.Target.Triple)
	}
	return strings.Join(names, ", ")
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// explainBuild is [engine.Explain] with what to do about it, where that can be told.
func explainBuild(doing string, err error) error {
	explained := engine.Explain(doing, err)
	var failed *dagger.ExecError
	if !errors.As(err, &failed) {
		return explained
	}
	if hint := cargo.Hint(failed.Stderr); hint != "" {
		return fmt.Errorf("%v\n%s", explained, hint)
	}
	return explained
}
