package toolchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/target"
	"dagger/gantry/internal/dagger"
)

// Options of a build that don't depend on its target.
type Options struct {
	// Dir of the workspace in the source, "." for its top.
	Dir string
	// Epoch is SOURCE_DATE_EPOCH: the commit time in seconds.
	Epoch int64
	// Cache names the caches. Builds must have different names unless they may share
	// the programs that Cargo runs while it builds.
	Cache string
	// Hermetic makes the build reuse only the results of builds with the same inputs:
	// content of the source, toolchain, environment and commands. Otherwise it reuses
	// those of the project's last build, whatever its source was.
	Hermetic bool
	// Conditions under which the build runs; those of a release are none.
	Conditions Conditions
}

// Output of a build.
type Output struct {
	// Dir has the files of all targets.
	Dir *dagger.Directory
	// Targets, in the order of the builds.
	Targets []TargetOutput
}

// TargetOutput has paths in the directory of the [Output].
type TargetOutput struct {
	// Files of the binaries, in the order of the build's Bins.
	Files []string
	// Run has the output of each binary; nil for targets that don't run here.
	Run []string
}

// Build compiles targets that differ in nothing else ([plan.Group]), with one call
// of Cargo.
func (t Toolchain) Build(ctx context.Context, source *dagger.Directory, group []plan.Build, opts Options) (*Output, error) {
	doing := "build " + strings.Join(triples(group), ", ")
	ctr, defaults, err := t.prepared(ctx, group)
	if err != nil {
		return nil, err
	}
	platform, err := ctr.Platform(ctx)
	if err != nil {
		return nil, engine.Explain(doing, err)
	}
	dependencies, err := t.Fetch(ctx, source, opts)
	if err != nil {
		return nil, err
	}
	source = t.buildSource(source, group[0].GitDir)
	// The variables go into the command: each step that sets one on the container is
	// one more for the engine to look up in its cache.
	env := settings(group[0], opts)
	cache, content, err := t.cache(ctx, ctr, source, opts, append([]string{group[0].Command}, env...))
	if err != nil {
		return nil, err
	}
	if ctr, err = t.withCaches(ctx, ctr, cache, opts.Conditions); err != nil {
		return nil, err
	}
	command, native := cargoCommand(group, platform)
	conditions, err := opts.Conditions.env(ctx, ctr, group)
	if err != nil {
		return nil, err
	}
	env = append(env, "CARGO_TARGET_DIR="+opts.Conditions.TargetDir(), "GANTRY_RUN="+strings.Join(native, " "), "GANTRY_CONTENT="+content)
	env = append(env, conditions...)
	if group[0].NeedsCrates() {
		env = append(env, "GANTRY_CRATES="+strings.Join(triples(group), " "), "GANTRY_SELECT="+strings.Join(group[0].Selection(), " "))
	}
	script := []string{binDir + "/build.sh"}
	for _, v := range defaults {
		script = append(script, v.Name+"="+v.Value)
	}
	if dependencies != nil {
		ctr = ctr.WithMountedDirectory(fetched, dependencies)
	}
	out := ctr.
		WithMountedDirectory(input, source).
		WithExec(slices.Concat(env, script, []string{"--"}, command)).
		Directory(output)
	messages, err := out.File("messages").Contents(ctx)
	if err != nil {
		return nil, explainBuild(doing, err)
	}
	return findExecutables(out, opts.Conditions.messages(messages), group, native, opts.Conditions.TargetDir())
}

// Start starts programs in a directory that were built elsewhere, and returns a directory
// with the output of each, under its name. It returns nil if those of the target don't
// run here.
func (t Toolchain) Start(ctx context.Context, tgt target.Target, programs *dagger.Directory, names []string) (*dagger.Directory, error) {
	ctr := t.base()
	platform, err := ctr.Platform(ctx)
	if err != nil {
		return nil, t.noImage(err)
	}
	if !tgt.Native(string(platform)) {
		return nil, nil
	}
	ctr = ctr.WithMountedDirectory(input, programs)
	for _, name := range names {
		ctr = ctr.WithExec([]string{binDir + "/start.sh", path.Join(input, name), path.Join(output, name)})
	}
	return ctr.Directory(output), nil
}

// buildSource returns the source as a build sees it, with .git only if it needs that.
// dagger.lock, which pins the images of a Dagger client's modules, is not part of the
// project.
//
// A container removes both, because the engine keeps what a container made. It would
// filter an upload again in each session, and read every file of the result to find out
// that it is the same.
func (t Toolchain) buildSource(source *dagger.Directory, gitDir bool) *dagger.Directory {
	remove := []string{"rm", "-rf", input + "/dagger.lock"}
	if !gitDir {
		remove = append(remove, input+"/.git")
	}
	return t.base().WithMountedDirectory(input, source).WithExec(remove).Directory(input)
}

// settings returns the command that sets the variables which affect the binaries.
func settings(b plan.Build, opts Options) []string {
	env := []string{"env"}
	for _, name := range slices.Sorted(maps.Keys(b.Config.Env)) {
		env = append(env, name+"="+b.Config.Env[name])
	}
	return append(env,
		"SOURCE_DATE_EPOCH="+strconv.FormatInt(opts.Epoch, 10),
		"GANTRY_WORKSPACE="+opts.Dir,
		"GANTRY_PRE_BUILD="+b.Config.PreBuild)
}

// cargoCommand returns Cargo's arguments for a group, and the targets whose binaries
// run on a platform.
func cargoCommand(group []plan.Build, platform dagger.Platform) (args, native []string) {
	args = append(strings.Fields(group[0].Command), group[0].Args()...)
	for _, b := range group {
		args = append(args, "--target", b.TargetArg())
		if b.Target.Native(string(platform)) {
			native = append(native, b.Target.Triple)
		}
	}
	return args, native
}

// findExecutables finds the binaries in the output of build.sh.
func findExecutables(out *dagger.Directory, messages string, group []plan.Build, native []string, targetDir string) (*Output, error) {
	result := &Output{Dir: out, Targets: make([]TargetOutput, len(group))}
	for i, b := range group {
		// One call for several targets reports the binaries of all, each below its
		// target's directory ("Build cache", The Cargo Book).
		within := ""
		if len(group) > 1 {
			within = targetDir + "/" + b.Target.Triple
		}
		executables, err := cargo.Executables(messages, within, b.Bins)
		if err != nil {
			return nil, fmt.Errorf("target %q: %v", b.Target.Triple, err)
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

// cache names the caches of a build in a prepared container. It also returns the digest of
// the source, if it read that.
func (t Toolchain) cache(ctx context.Context, ctr *dagger.Container, source *dagger.Directory, opts Options, settings []string) (name, content string, _ error) {
	if !opts.Hermetic {
		return opts.Cache, "", nil
	}
	toolchain, err := t.Digest(ctx)
	if err == nil && t.Custom != nil {
		toolchain, err = t.Custom.Rootfs().Digest(ctx)
	}
	if err != nil {
		return "", "", err
	}
	installed, err := ctr.File("/gantry-prepared").Contents(ctx)
	if err != nil {
		return "", "", engine.Explain("prepare the toolchain", err)
	}
	if content, err = source.Digest(ctx); err != nil {
		return "", "", fmt.Errorf("find the digest of the source: %v", err)
	}
	text, err := json.Marshal([]any{opts.Cache, toolchain, installed, content, settings})
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256(text)
	return "tag-" + hex.EncodeToString(sum[:16]), content, nil
}

// withCaches mounts the caches of a build: compiled code, what Cargo unpacks, and
// downloaded crates, the only cache that projects share (crates.sh explains how).
// The engine locks none of them, since it keeps the lock of an interrupted call:
// build.sh takes a lock that ends with its process.
func (t Toolchain) withCaches(ctx context.Context, ctr *dagger.Container, name string, conditions Conditions) (*dagger.Container, error) {
	home, err := cargoHome(ctx, ctr)
	if err != nil {
		return nil, err
	}
	if conditions == Other {
		home = otherCargoHome
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

// triples returns the targets of a group.
func triples(group []plan.Build) []string {
	var names []string
	for _, b := range group {
		names = append(names, b.Target.Triple)
	}
	return names
}

// explainBuild is [engine.Explain] with a fix, if there is a known one.
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
