// Package toolchain makes the containers that inspect and compile a Cargo
// workspace.
//
// It is a container graph: ci/release/plan and ci/target decide what they can, and
// only the scripts beside this file run in containers. It keeps one invariant: Cargo
// named each executable that it returns in the messages of the requested build.
package toolchain

import (
	"context"
	"fmt"
	"strings"

	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/target"
	"dagger/gantry/internal/dagger"
)

// Places in a toolchain container. They are the same on every machine, so that no
// machine's paths get into a binary.
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
	// Custom is the caller's container; nil for the official image of Channel.
	Custom *dagger.Container
	// Channel is a release of Rust, "1.96".
	Channel string
	Logins  Logins
}

// image returns the reference of the official image, without digest.
func (t Toolchain) image() string { return "docker.io/library/rust:" + t.Channel + "-bookworm" }

// Name returns the toolchain's name in a plan.
func (t Toolchain) Name() string {
	if t.Custom != nil {
		return "custom"
	}
	return t.image()
}

// base returns the container before anything is added for a target.
func (t Toolchain) base() *dagger.Container {
	ctr := t.Custom
	if ctr == nil {
		ctr = t.Client.Container().From(t.image())
	}
	return ctr.WithDirectory(binDir, t.Client.CurrentModule().Source().Directory("ci/release/toolchain"),
		dagger.ContainerWithDirectoryOpts{Include: []string{"*.sh", "shim/*"}})
}

// Digest returns the reference of the toolchain's image with its digest; it is empty
// for a caller's container.
func (t Toolchain) Digest(ctx context.Context) (string, error) {
	if t.Custom != nil {
		return "", nil
	}
	ref, err := t.Client.Container().From(t.image()).ImageRef(ctx)
	if err != nil {
		return "", t.noImage(err)
	}
	return ref, nil
}

func (t Toolchain) noImage(err error) error {
	return fmt.Errorf("find the toolchain image %q: %v; pass --toolchain with a container that has Rust", t.Name(), err)
}

// For returns the container that builds some targets, with the packages that they
// and their configuration need, and the variables set.
func (t Toolchain) For(ctx context.Context, builds []plan.Build) (*dagger.Container, error) {
	ctr, env, err := t.prepared(ctx, builds)
	if err != nil {
		return nil, err
	}
	for _, e := range env {
		if t.Custom != nil { // the caller's variables win
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

// prepared returns the same container, and the variables, which are not set yet.
func (t Toolchain) prepared(ctx context.Context, builds []plan.Build) (*dagger.Container, []target.Variable, error) {
	ctr := t.base()
	platform, err := ctr.Platform(ctx)
	if err != nil {
		return nil, nil, t.noImage(err)
	}
	args := []string{binDir + "/prepare.sh"}
	var env []target.Variable
	for _, b := range builds {
		tools, err := t.tools(b, platform)
		if err != nil {
			return nil, nil, err
		}
		env = append(env, tools.Env(b.Target)...)
		args = append(args, b.Target.Triple, tools.Linker, strings.Join(tools.Packages, " "), tools.Specs, tools.MuslCC,
			strings.Join(debianPackages(b.Config.Packages, b.Target.Debian), " "), b.Target.Debian)
	}
	return ctr.WithExec(args), env, nil
}

// tools returns what a build needs in addition to Rust.
func (t Toolchain) tools(b plan.Build, platform dagger.Platform) (target.Tools, error) {
	tgt := b.Target
	if tgt.External != "" && t.Custom == nil {
		return target.Tools{}, fmt.Errorf("target %q needs %s", tgt.Triple, tgt.External)
	}
	if b.Command != plan.DefaultCargoCommand || tgt.External != "" {
		// The subcommand or the caller's container has a linker.
		return target.Tools{}, nil
	}
	return tgt.Tools(tgt.Native(string(platform))), nil
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
