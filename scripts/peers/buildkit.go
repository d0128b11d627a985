package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// builder is what `docker buildx` needs: a BuildKit of its own in a directory, and a
// docker command whose only subcommand is buildx, since no Docker runs.
type builder struct {
	dir    string
	daemon *exec.Cmd
	// env is the environment in which docker buildx uses it.
	env []string
}

// shims are programs that GoReleaser calls. The targets are in the image of Rust
// already, and rustup reaches no server; buildx is the only part of docker that it uses.
var shims = map[string]string{
	"rustup": "exit 0",
	"docker": `[ "$1" = buildx ] || exit 1; shift; exec "$PEERS_BUILDX" "$@"`,
}

// writeShims writes the shims into a directory.
func writeShims(dir string, names ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+shims[name]+"\n"), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// startBuilder starts a builder without any cache in a new directory. It speaks plain
// HTTP with the given registries.
func startBuilder(ctx context.Context, e *Env, dir string, registries ...string) (*builder, error) {
	buildkitd, _, err := e.Tool(ctx, "buildkitd")
	if err != nil {
		return nil, err
	}
	buildx, _, err := e.Tool(ctx, "buildx")
	if err != nil {
		return nil, err
	}
	b := &builder{dir: dir, env: []string{
		"PEERS_BUILDX=" + buildx, "BUILDX_CONFIG=" + filepath.Join(dir, "buildx"), "DOCKER_CONFIG=" + filepath.Join(dir, "docker"),
		"PATH=" + filepath.Join(dir, "shims") + ":" + os.Getenv("PATH"),
	}}
	if err := writeShims(filepath.Join(dir, "shims"), "rustup", "docker"); err != nil {
		return nil, err
	}
	var config strings.Builder
	for _, r := range registries {
		fmt.Fprintf(&config, "[registry.%q]\n  http = true\n", r)
	}
	if err := os.WriteFile(filepath.Join(dir, "buildkitd.toml"), []byte(config.String()), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "buildkitd.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	socket := "unix://" + filepath.Join(dir, "b.sock")
	b.daemon = exec.Command(buildkitd, "--config", filepath.Join(dir, "buildkitd.toml"), "--root", filepath.Join(dir, "state"), "--addr", socket)
	b.daemon.Stdout, b.daemon.Stderr = log, log
	if err := b.daemon.Start(); err != nil {
		return nil, fmt.Errorf("start buildkitd: %w", err)
	}
	if err := b.ready(ctx, buildx, socket); err != nil {
		b.Close()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("wait for buildkitd: %w: %s", err, text[max(0, len(text)-1000):])
	}
	return b, nil
}

// ready waits for the daemon to answer.
func (b *builder) ready(ctx context.Context, buildx, socket string) error {
	var err error
	for range 60 {
		if err = ctx.Err(); err != nil {
			return err
		}
		if _, err = os.Stat(filepath.Join(b.dir, "b.sock")); err == nil {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	if _, err := Output(Command(ctx, b.dir, b.env, buildx, "create", "--name=peers", "--driver=remote", "--use", socket)); err != nil {
		return err
	}
	_, err = Output(Command(ctx, b.dir, b.env, buildx, "inspect", "--bootstrap"))
	return err
}

// Close ends the daemon.
func (b *builder) Close() error {
	_ = b.daemon.Process.Signal(os.Interrupt)
	done := make(chan error, 1)
	go func() { done <- b.daemon.Wait() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = b.daemon.Process.Kill()
		<-done
	}
	return nil
}
