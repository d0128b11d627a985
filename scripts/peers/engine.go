package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sampleTag is the release of the sample that the parts build and publish, and
// sampleVersion its version.
const (
	sampleTag     = "tally-1.4.0"
	sampleVersion = "1.4.0"
)

// engine calls Gantry as its users do: with the dagger command, in a real engine.
type engine struct {
	env *Env
	// host is this machine, as containers of the engine reach it.
	host string
	// log has the output of every call.
	log *os.File
}

// newEngine returns the engine of scripts/up. Each part has a log. The caller closes it.
func newEngine(e *Env) (*engine, error) {
	host := os.Getenv("GANTRY_HOST_IN_CONTAINERS")
	if host == "" {
		return nil, errors.New("GANTRY_HOST_IN_CONTAINERS is not set: call it by scripts/bench peers, which starts an engine")
	}
	if _, err := exec.LookPath("dagger"); err != nil {
		return nil, fmt.Errorf("find dagger: %w: call it by scripts/bench peers", err)
	}
	dir := filepath.Join(e.Cache, "log")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "peers-"+e.Part+".log"))
	if err != nil {
		return nil, err
	}
	return &engine{env: e, host: host, log: log}, nil
}

func (g *engine) Close() error { return g.log.Close() }

// call calls functions of Gantry, and returns what they print.
func (g *engine) call(ctx context.Context, args ...string) (string, error) {
	return g.dagger(ctx, slices.Concat([]string{"-m", g.env.Root, "call", "--progress=plain"}, args)...)
}

// core calls functions of Dagger itself.
func (g *engine) core(ctx context.Context, args ...string) (string, error) {
	return g.dagger(ctx, slices.Concat([]string{"core", "--progress=plain"}, args)...)
}

func (g *engine) dagger(ctx context.Context, args ...string) (string, error) {
	return g.run(Command(ctx, g.env.Work, nil, "dagger", args...))
}

// run runs a command, and returns its output. The log gets the output and the errors.
func (g *engine) run(cmd *exec.Cmd) (string, error) {
	fmt.Fprintf(g.log, "\n%s $ %s\n", time.Now().UTC().Format(time.TimeOnly), strings.Join(cmd.Args, " "))
	var out, all strings.Builder
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &all, g.log), io.MultiWriter(&all, g.log)
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(all.String())
		return out.String(), fmt.Errorf("run %s: %w: see %s\n%s", strings.Join(cmd.Args[:min(len(cmd.Args), 8)], " "), err, g.log.Name(), text[max(0, len(text)-1500):])
	}
	return out.String(), nil
}

// tolerated reports whether a part goes on after an error: that of a peer makes its cells
// "not measured", but Gantry must run.
func (e *Env) tolerated(ctx context.Context, tool string, err error) bool {
	if tool == Gantry || ctx.Err() != nil {
		return false
	}
	e.Log("  %s failed: %v", tool, err)
	return true
}

// retried calls a peer's measurement once more if it failed: a tool that builds several
// targets at once can fail by chance, as cargo-zigbuild does. The table says so.
func retried[R any](ctx context.Context, e *Env, tool string, measure func() (R, error)) (R, error) {
	r, err := measure()
	if err == nil || !e.tolerated(ctx, tool, err) {
		return r, err
	}
	e.Note("%s failed at first, and was run again.", tool)
	return measure()
}

// missing is the cell of a tool that failed, with the first line of why.
func missing(err error) Cell {
	why, _, _ := strings.Cut(err.Error(), "\n")
	return NotMeasured(why)
}

// cellsOf returns the cells of tools: of what was measured, or of why nothing was.
func cellsOf[R any](results map[string]R, failure func(R) error, cell func(R) Cell) map[string]Cell {
	cells := map[string]Cell{}
	for tool, r := range results {
		if err := failure(r); err != nil {
			cells[tool] = missing(err)
			continue
		}
		cells[tool] = cell(r)
	}
	return cells
}

// headline marks a row for the README.
func headline(r Row) Row {
	r.Headline = true
	return r
}

// seconds returns how long a function took.
func seconds(f func() error) (float64, error) {
	start := time.Now()
	err := f()
	return time.Since(start).Seconds(), err
}

// rounds calls a function n times, and returns the median of its results.
func rounds(n int, f func(round int) (float64, error)) (float64, error) {
	var all []float64
	for i := range n {
		v, err := f(i)
		if err != nil {
			return 0, err
		}
		all = append(all, v)
	}
	return median(all), nil
}

// median returns the median, and 0 of nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// sample makes the sample's repository in a directory. For tools that know no tag with a
// prefix, v1.4.0 is at the same commit. The profile of its binaries is that of
// `cargo build --release`, which is the only one that GoReleaser copies from.
func sample(ctx context.Context, e *Env, dir string) error {
	if _, err := Output(Command(ctx, e.Root, nil, filepath.Join(e.Root, "scripts", "sample", "history"), dir)); err != nil {
		return err
	}
	path := filepath.Join(dir, "Cargo.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const profile = "[profile.dist]\ninherits = \"release\"\n"
	changed := strings.Replace(string(text), profile, profile+"\n[profile.release]\n", 1)
	if changed == string(text) {
		return fmt.Errorf("%s has no %q", path, profile)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		return err
	}
	if err := git(ctx, dir, "remote", "add", "origin", sampleRemote); err != nil {
		return err
	}
	return commit(ctx, dir, "build: one profile for all tools", sampleTag, "v"+sampleVersion)
}

// forImages makes the sample's releases smaller, since images have the musl binaries. It
// also removes the address of the published image, which no tool here can reach.
func forImages(ctx context.Context, dir string) error {
	for path, remove := range map[string][]string{
		"Cargo.toml":                     {"    \"x86_64-unknown-linux-gnu\",\n", "    \"aarch64-unknown-linux-gnu\",\n"},
		"crates/tally-server/Cargo.toml": {"repositories = [\"ghcr.io/example/tally\"]\n"},
	} {
		path = filepath.Join(dir, path)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, line := range remove {
			if !strings.Contains(string(text), line) {
				return fmt.Errorf("%s has no %q", path, line)
			}
			text = []byte(strings.Replace(string(text), line, "", 1))
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return commit(ctx, dir, "build: for images", sampleTag, "v"+sampleVersion)
}

// commit commits every change in a repository, and moves tags there.
func commit(ctx context.Context, dir, message string, tags ...string) error {
	commands := [][]string{{"add", "--all"}, {"commit", "--quiet", "--allow-empty", "-m", message}}
	for _, t := range tags {
		commands = append(commands, []string{"tag", "--force", "-a", "-m", t, t})
	}
	for _, args := range commands {
		if err := git(ctx, dir, args...); err != nil {
			return err
		}
	}
	return nil
}

// exclude has git ignore files in a repository.
func exclude(dir string, patterns ...string) error {
	info := filepath.Join(dir, ".git", "info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(info, "exclude"), []byte(strings.Join(patterns, "\n")+"\n"), 0o644)
}

// git runs a command in a repository, as nobody in particular at no particular time.
func git(ctx context.Context, dir string, args ...string) error {
	env := []string{
		"GIT_AUTHOR_NAME=peers", "GIT_AUTHOR_EMAIL=peers@example.com", "GIT_COMMITTER_NAME=peers", "GIT_COMMITTER_EMAIL=peers@example.com",
		"GIT_AUTHOR_DATE=2025-05-01T09:00:00Z", "GIT_COMMITTER_DATE=2025-05-01T09:00:00Z", "GIT_CONFIG_GLOBAL=/dev/null",
	}
	_, err := Output(Command(ctx, dir, env, "git", args...))
	return err
}
