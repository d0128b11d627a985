package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dagger/gantry/ci/fakehub"
)

// What is released, in each comparison.
const (
	owner, repository = "octo", "tally"
	tag, version      = "v1.4.0", "1.4.0"
	// The token is of nobody: the fake GitHub takes any.
	token = "token-of-nobody"
)

// files are the files to release: their directory, and the digest of each by name.
type files struct {
	dir   string
	want  map[string]string
	bytes int64
}

// makeFiles writes the same files each time: archives of some size, which don't
// compress, and SHA256SUMS.
func makeFiles(dir string, archives, size int) (*files, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f := &files{dir: dir, want: map[string]string{}}
	var sums strings.Builder
	add := func(name string, data []byte) error {
		f.want[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		f.bytes += int64(len(data))
		return os.WriteFile(filepath.Join(dir, name), data, 0o644)
	}
	random := rand.NewChaCha8([32]byte{'p', 'e', 'e', 'r', 's'})
	for i := range archives {
		data := make([]byte, size)
		_, _ = random.Read(data) // never fails
		name := fmt.Sprintf("tally-%s-target-%02d.tar.gz", version, i)
		if err := add(name, data); err != nil {
			return nil, err
		}
		fmt.Fprintf(&sums, "%s  %s\n", f.want[name], name)
	}
	return f, add("SHA256SUMS", []byte(sums.String()))
}

// project is a git repository with a crate, and the bare repository that it was cloned
// from. Both are copied for each run.
type project struct{ dir, commit string }

const goreleaserConfig = `version: 2
project_name: tally
builds:
  - builder: rust
    skip: true
checksum:
  disable: true
changelog:
  disable: true
github_urls:
  api: "{{ .Env.PEERS_HUB }}api/v3/"
  upload: "{{ .Env.PEERS_HUB }}api/uploads/"
  download: "{{ .Env.PEERS_HUB }}"
release:
  github: {owner: octo, name: tally}
  use_existing_draft: {{USE}}
  replace_existing_artifacts: {{REPLACE}}
  extra_files:
    - glob: ./artifacts/*
`

// Comments on pull requests and issues are turned off: the fake GitHub has neither.
const semanticConfig = `export default {
  branches: ["main"],
  repositoryUrl: "https://github.com/octo/tally.git",
  plugins: [
    "@semantic-release/commit-analyzer",
    ["@semantic-release/github", { assets: ["artifacts/*"], successCommentCondition: false, failCommentCondition: false }],
  ],
};
`

// distConfig sets no ci: with one, dist refuses to plan until its workflow is in the
// repository.
const distConfig = `[workspace]
members = ["cargo:."]

[dist]
cargo-dist-version = "0.34.0"
installers = []
targets = ["x86_64-unknown-linux-gnu"]
`

// makeProject makes a repository whose newest commit has the tag. Its crate has a
// version.
func makeProject(ctx context.Context, dir, crate string) (*project, error) {
	work := filepath.Join(dir, "work")
	config := func(use string) string {
		return strings.NewReplacer("{{USE}}", use, "{{REPLACE}}", use).Replace(goreleaserConfig)
	}
	for name, text := range map[string]string{
		"Cargo.toml":          "[package]\nname = \"tally\"\nversion = \"" + crate + "\"\nedition = \"2021\"\nrepository = \"https://github.com/octo/tally\"\n\n[profile.dist]\ninherits = \"release\"\n",
		"Cargo.lock":          "version = 3\n\n[[package]]\nname = \"tally\"\nversion = \"" + crate + "\"\n",
		"src/main.rs":         "fn main() {}\n",
		"release-plz.toml":    "[workspace]\npublish = false\n",
		"dist-workspace.toml": distConfig,
		".gitignore":          "artifacts/\ndist/\ntarget/\n",
		".goreleaser.yml":     config("false"),
		"rerun.yml":           config("true"),
		"release.config.mjs":  semanticConfig,
	} {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	script := `set -eu
git init -q -b main .
git add .
git commit -q -m "feat: first"
git tag v1.3.0
git commit -q --allow-empty -m "feat: tally more"
git clone -q --bare . ../origin.git
git remote add origin https://github.com/octo/tally.git
git fetch -q ../origin.git main:refs/remotes/origin/main`
	if _, err := Output(Command(ctx, work, gitEnv, "sh", "-c", script)); err != nil {
		return nil, err
	}
	commit, err := Output(Command(ctx, work, nil, "git", "rev-parse", "HEAD"))
	return &project{dir, commit}, err
}

var gitEnv = []string{
	"GIT_AUTHOR_NAME=peers", "GIT_AUTHOR_EMAIL=peers@example.com", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z",
	"GIT_COMMITTER_NAME=peers", "GIT_COMMITTER_EMAIL=peers@example.com", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z",
	"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
}

// stage is a fake GitHub for one comparison, with a copy of the project.
type stage struct {
	hub   *fakehub.Server
	repo  *fakehub.Repo
	files *files
	// url is the fake's address, with a slash at the end.
	url, dir, commit string
	close            func()
	// lose ends the current run, as if its machine was lost.
	lose func()
	// started tells whether a run was started before.
	started bool
}

// newStage starts a fake GitHub that knows the project's commit and tag.
func newStage(dir string, f *files, p *project) (*stage, error) {
	s := &stage{hub: fakehub.New(fakehub.Config{}), files: f, dir: dir, commit: p.commit}
	s.repo = s.hub.AddRepo(owner, repository)
	s.repo.AddCommit(p.commit, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	s.repo.Main(p.commit)
	s.repo.Tag(tag, p.commit)
	if err := s.lay(p); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := fakehub.HTTPServer(s.hub)
	go func() {
		if err := server.Serve(fakehub.Refusing(l)); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	s.url = "http://" + l.Addr().String() + "/"
	s.close = func() {
		s.hub.Close()
		_ = server.Close()
		_ = os.RemoveAll(dir)
	}
	return s, nil
}

// lay copies the project, with the files to release in artifacts/.
func (s *stage) lay(p *project) error {
	if err := os.CopyFS(s.dir, os.DirFS(p.dir)); err != nil {
		return err
	}
	artifacts := filepath.Join(s.dir, "work", "artifacts")
	if err := os.Mkdir(artifacts, 0o755); err != nil {
		return err
	}
	for name := range s.files.want {
		if err := os.Link(filepath.Join(s.files.dir, name), filepath.Join(artifacts, name)); err != nil {
			return err
		}
	}
	return nil
}

// attempt is one run of a tool.
type attempt struct {
	// code is the exit code; -1 if the run was ended.
	code   int
	ended  bool
	output string
	took   time.Duration
}

// run runs a tool once. A run that takes longer than the limit is ended, with all the
// processes that it started.
func (s *stage) run(ctx context.Context, t *releaser, limit time.Duration) (*attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s.lose = cancel
	if t.before != nil {
		if err := t.before(ctx, s); err != nil {
			return nil, fmt.Errorf("before a run of %s: %w", t.name, err)
		}
	}
	s.started = true
	cmd := t.command(ctx, s)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	a := &attempt{code: cmd.ProcessState.ExitCode(), ended: ctx.Err() != nil, output: out.String(), took: time.Since(start)}
	if cmd.ProcessState == nil || err != nil && !errors.As(err, new(*exec.ExitError)) && !a.ended {
		return nil, fmt.Errorf("run %s: %w", t.name, err)
	}
	return a, nil
}

// sent counts the bytes of assets that arrived.
func (s *stage) sent() (bytes int64) {
	for _, c := range s.hub.Calls() {
		if isUpload(c) {
			bytes += c.Sent
		}
	}
	return bytes
}
