package main

import (
	"cmp"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// releaser is a tool that makes a release, as its documentation recommends.
type releaser struct {
	name string
	// command makes the release on a stage.
	command func(ctx context.Context, s *stage) *exec.Cmd
	// before is called before each run, if it isn't nil.
	before func(ctx context.Context, s *stage) error
	// noFiles means that the tool uploads nothing: its release is complete without.
	noFiles bool
}

// gantryReleaser runs Gantry's publisher: this program, as a process of its own, so that
// it can be ended like the others.
func gantryReleaser() (*releaser, error) {
	self, err := os.Executable()
	return &releaser{name: Gantry, command: func(ctx context.Context, s *stage) *exec.Cmd {
		return s.command(ctx, "work", nil, self, publishCommand, s.url, s.commit, "artifacts")
	}}, err
}

// ghReleaser is `gh release create`. It reaches the fake GitHub as an HTTP proxy, since
// it speaks HTTPS to all hosts but github.localhost.
func ghReleaser(program string) *releaser {
	return &releaser{name: "gh", command: func(ctx context.Context, s *stage) *exec.Cmd {
		args := []string{"release", "create", tag, "--repo", "github.localhost/" + owner + "/" + repository,
			"--target", s.commit, "--title", tag, "--notes", "the notes"}
		return s.command(ctx, "work", []string{"HTTP_PROXY=" + s.url, "GH_ENTERPRISE_TOKEN=" + token, "GH_TOKEN=" + token}, program, append(args, s.files.paths()...)...)
	}}
}

// goreleaserReleaser takes the configuration of the project, or the one for re-runs.
func goreleaserReleaser(program, name, config string) *releaser {
	return &releaser{name: name, command: func(ctx context.Context, s *stage) *exec.Cmd {
		env := []string{"GITHUB_TOKEN=" + token, "PEERS_HUB=" + s.url}
		return s.command(ctx, "work", env, "sh", "-c", `git tag -f v1.4.0 >/dev/null && exec "$0" release --clean --config "$1"`, program, config)
	}}
}

// semanticReleaser is semantic-release with its plugin for GitHub. It decides on the
// version and pushes the tag itself, to a bare repository beside the project.
func semanticReleaser(program string) *releaser {
	env := func(s *stage) []string {
		origin := filepath.Join(s.dir, "origin.git")
		return []string{
			"GITHUB_TOKEN=" + token, "GITHUB_API_URL=" + s.url + "api/v3",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url." + origin + ".insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/octo/tally.git",
		}
	}
	return &releaser{
		name: "semantic-release",
		command: func(ctx context.Context, s *stage) *exec.Cmd {
			return s.command(ctx, "work", env(s), program, "--no-ci")
		},
	}
}

// releasePlzReleaser is the release step of release-plz, without the registry. It makes
// the tag itself, and each run has the tags that are on GitHub then, as on a CI.
func releasePlzReleaser(program string) *releaser {
	return &releaser{
		name: "release-plz", noFiles: true,
		before: func(ctx context.Context, s *stage) error {
			if !s.started {
				s.repo.Untag(tag)
			} else if strings.Contains(s.hub.Dump(), "\n  tag "+tag+" ") {
				return s.command(ctx, "work", nil, "git", "tag", "-f", tag).Run()
			}
			return nil
		},
		command: func(ctx context.Context, s *stage) *exec.Cmd {
			home, _ := os.UserHomeDir() // where rustup's cargo finds its toolchain
			env := []string{"CARGO_HOME=" + cmp.Or(os.Getenv("CARGO_HOME"), filepath.Join(home, ".cargo")),
				"RUSTUP_HOME=" + cmp.Or(os.Getenv("RUSTUP_HOME"), filepath.Join(home, ".rustup"))}
			return s.command(ctx, "work", env, program, "release", "--forge", "github", "--git-token", token,
				"--repo-url", s.url+owner+"/"+repository)
		},
	}
}

// command returns a command in a directory of the stage, with nothing of this process's
// environment but what a program needs to run.
func (s *stage) command(ctx context.Context, dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := Command(ctx, filepath.Join(s.dir, dir), nil, name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "NO_COLOR=1"}, append(gitEnv, env...)...)
	return cmd
}

// paths are the files in the project, sorted.
func (f *files) paths() []string {
	var all []string
	for _, name := range sorted(maps.Keys(f.want)) {
		all = append(all, filepath.Join("artifacts", name))
	}
	return all
}

// color matches an escape sequence that sets colors. semantic-release prints them even if
// its output isn't a terminal.
var color = regexp.MustCompile("\x1b\\[[0-9;]*m")

// told is the last line of an output that has GitHub's answer to a denied call, or else
// the last one.
func told(output string) string {
	lines := strings.Split(strings.TrimSpace(color.ReplaceAllString(output, "")), "\n")
	for _, line := range slices.Backward(lines) {
		if strings.Contains(line, "Resource not accessible") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return strings.TrimSpace(lines[len(lines)-1])
}
