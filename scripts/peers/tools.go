package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// peer is a tool that Gantry is compared with, and how it is installed.
type peer struct {
	// name is that of the tool's column, program that of its command.
	name, program string
	// version is pinned, except that of programs of the machine.
	version string
	// from installs the tool into a directory and returns its program. By default, the
	// program is one of the machine.
	from func(ctx context.Context, p peer, dir string) (program string, err error)
	// packages are the packages to install, if they aren't the tool's name.
	packages []string
}

// peers are all tools. A version is the newest that Debian 12 with Rust 1.95, Go 1.26
// and Node.js 20 can build or run.
var peers = []peer{
	{name: "goreleaser", program: "goreleaser", version: "v2.15.4", from: goInstall, packages: []string{"github.com/goreleaser/goreleaser/v2"}},
	{name: "crane", program: "crane", version: "v0.22.1", from: goInstall, packages: []string{"github.com/google/go-containerregistry/cmd/crane"}},
	{name: "gh", program: "gh"},
	{name: "semantic-release", program: "semantic-release", version: "24.2.9", from: npmInstall, packages: []string{
		"semantic-release@24.2.9", "@semantic-release/github@11.0.6", "@semantic-release/commit-analyzer@13.0.1",
	}},
	{name: "release-plz", program: "release-plz", version: "0.3.160", from: cargoInstall},
	{name: "dist", program: "dist", version: "0.34.0", from: cargoInstall, packages: []string{"cargo-dist"}},
	{name: "git-cliff", program: "git-cliff", version: "2.14.2", from: npmInstall},
	{name: "conventional-changelog", program: "conventional-changelog", version: "7.2.1", from: npmInstall, packages: []string{
		"conventional-changelog@7.2.1", "conventional-changelog-conventionalcommits@9.3.1",
	}},
	{name: "buildah", program: "buildah", version: "1.28.2", from: debianUnpack, packages: []string{"buildah", "libsubid4"}},
	{name: "buildx", program: "buildx", version: "v0.38.2", from: goInstall, packages: []string{"github.com/docker/buildx/cmd/buildx"}},
	{name: "buildkitd", program: "buildkitd", version: "v0.34.2", from: goBuild, packages: []string{"github.com/moby/buildkit/cmd/buildkitd"}},
	{name: "skopeo", program: "skopeo"},
}

// installed is a tool that is ready, or why it isn't.
type installed struct {
	path, version string
	err           error
}

// Tool returns the program of a tool, and its version. The first call installs the tool
// into the cache, which can take minutes.
func (e *Env) Tool(ctx context.Context, name string) (path, version string, err error) {
	e.mu.Lock()
	got, ok := e.tools[name]
	e.mu.Unlock()
	if !ok {
		got.path, got.version, got.err = e.install(ctx, name)
		e.mu.Lock()
		e.tools[name] = got
		e.mu.Unlock()
	}
	if got.err != nil {
		return "", "", fmt.Errorf("install %s: %w", name, got.err)
	}
	e.Used(name, got.version)
	return got.path, got.version, nil
}

func (e *Env) install(ctx context.Context, name string) (path, version string, err error) {
	for _, p := range peers {
		if p.name != name {
			continue
		}
		if p.from == nil {
			return ofMachine(ctx, p)
		}
		path, err = e.pinned(ctx, p)
		return path, p.version, err
	}
	return "", "", fmt.Errorf("no tool has this name; the table in tools.go has all")
}

// InstallAll installs tools, by default all, and reports those that can't be installed. A
// tool that is named is tried again if it could not be installed before.
func (e *Env) InstallAll(ctx context.Context, names []string) error {
	var failed []error
	for _, p := range peers {
		if len(names) > 0 && !slices.Contains(names, p.name) {
			continue
		}
		if len(names) > 0 {
			_ = os.Remove(filepath.Join(e.directory(p), failedFile)) // it may not be there
		}
		path, version, err := e.Tool(ctx, p.name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		e.Log("%s %s is %s", p.name, version, path)
	}
	return errors.Join(failed...)
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// ofMachine returns a program of the machine.
func ofMachine(ctx context.Context, p peer) (path, version string, err error) {
	if path, err = exec.LookPath(p.program); err != nil {
		return "", "", err
	}
	text, err := Output(Command(ctx, "", nil, path, "--version"))
	return path, cmp.Or(versionNumber.FindString(text), text), err
}

// failedFile is in the directory of a tool that could not be installed, and has the error.
const failedFile = ".failed"

// directory is where a tool is installed.
func (e *Env) directory(p peer) string {
	return filepath.Join(e.Cache, "peers", p.name+"-"+strings.TrimPrefix(p.version, "v"))
}

// pinned returns a tool of the cache. It is installed if it isn't there, and why that
// failed is kept, so that a tool which can't be compiled costs its minutes once.
func (e *Env) pinned(ctx context.Context, p peer) (string, error) {
	dir := e.directory(p)
	done, failed := filepath.Join(dir, ".done"), filepath.Join(dir, failedFile)
	if path, err := os.ReadFile(done); err == nil {
		return filepath.Join(dir, string(path)), nil
	}
	if why, err := os.ReadFile(failed); err == nil {
		return "", fmt.Errorf("%s (scripts/bench peers -install %s tries again)", why, p.name)
	}
	e.Log("install %s %s, which can take minutes", p.name, p.version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path, err := p.from(ctx, p, dir)
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, path))
	}
	if err == nil {
		return filepath.Join(dir, path), os.WriteFile(done, []byte(path), 0o644)
	}
	if ctx.Err() == nil {
		_ = os.WriteFile(failed, []byte(err.Error()), 0o644)
	}
	return "", err
}

// logged runs an installer. Its output goes to a file in dir.
func logged(cmd *exec.Cmd, dir string) error {
	log, err := os.Create(filepath.Join(dir, "install.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		// Without the cache's path: the error is a note in the table.
		return fmt.Errorf("it could not be installed (%w): see peers/%s/install.log in Gantry's cache", err, filepath.Base(dir))
	}
	return nil
}

func goInstall(ctx context.Context, p peer, dir string) (string, error) {
	cmd := Command(ctx, dir, []string{"GOBIN=" + dir, "GOFLAGS=-mod=mod"}, "nice", "-n", "15", "go", "install", p.packages[0]+"@"+p.version)
	return p.program, logged(cmd, dir)
}

// goBuild builds a program whose module `go install` refuses, since its go.mod excludes
// versions: as a dependency of another module.
func goBuild(ctx context.Context, p peer, dir string) (string, error) {
	script := `set -eu
[ -e go.mod ] || go mod init peers.invalid/tool
go get "$0@$1"
exec go build -o "$2" "$0"`
	env := []string{"GOFLAGS=-mod=mod", "CGO_ENABLED=0"}
	return p.program, logged(Command(ctx, dir, env, "nice", "-n", "15", "sh", "-c", script, p.packages[0], p.version, p.program), dir)
}

// cargoInstall compiles without optimizations that would take longer than they save.
func cargoInstall(ctx context.Context, p peer, dir string) (string, error) {
	name := p.name
	if len(p.packages) > 0 {
		name = p.packages[0]
	}
	target := filepath.Join(dir, "target")
	env := []string{"CARGO_PROFILE_RELEASE_OPT_LEVEL=1", "CARGO_PROFILE_RELEASE_LTO=off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16",
		"CARGO_PROFILE_RELEASE_DEBUG=0", "CARGO_TARGET_DIR=" + target}
	cmd := Command(ctx, dir, env, "nice", "-n", "15", "cargo", "install", "--quiet", "--locked", "--root", dir, "--version", p.version, name)
	if err := logged(cmd, dir); err != nil {
		return "", err // what was compiled stays, for the next try
	}
	return "bin/" + p.program, os.RemoveAll(target)
}

func npmInstall(ctx context.Context, p peer, dir string) (string, error) {
	packages := p.packages
	if packages == nil {
		packages = []string{p.name + "@" + p.version}
	}
	args := append([]string{"install", "--prefix", dir, "--no-audit", "--no-fund"}, packages...)
	return "node_modules/.bin/" + p.program, logged(Command(ctx, dir, nil, "npm", args...), dir)
}

// debianUnpack unpacks packages of Debian, and installs nothing. The first one has the
// program, which gets the libraries of the others.
func debianUnpack(ctx context.Context, p peer, dir string) (string, error) {
	script := `set -eu
apt-get download "$@"
for package in ./*.deb; do dpkg-deb -x "$package" root; rm "$package"; done
printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$PWD/root/usr/lib/$(uname -m)-linux-gnu" "$PWD/root/usr/bin/$0" >"$0"
chmod +x "$0"
"./$0" --version`
	return p.program, logged(Command(ctx, dir, nil, "sh", append([]string{"-c", script, p.program}, p.packages...)...), dir)
}

var ownVersion = regexp.MustCompile(`(?m)^const version = "([^"]+)"`)

// ours returns Gantry's version: that in version.go, with the commit.
func ours(ctx context.Context, root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "version.go"))
	if err != nil {
		return "", fmt.Errorf("%w: run it in Gantry's repository, or pass -root", err)
	}
	m := ownVersion.FindSubmatch(text)
	if m == nil {
		return "", errors.New("version.go has no constant named version")
	}
	commit, err := Output(Command(ctx, root, nil, "git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (%s)", m[1], commit), nil
}

func writers(w ...io.Writer) io.Writer { return io.MultiWriter(w...) }
