package main

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// releaser is a tool that makes a release, as its documentation recommends.
type releaser struct {
	name string
	// command makes the release on a stage.
	command func(ctx context.Context, s *stage) *exec.Cmd
}

// gantryReleaser runs Gantry's publisher: this program, as a process of its own, so that
// it can be ended like the others.
func gantryReleaser() (*releaser, error) {
	self, err := os.Executable()
	return &releaser{name: Gantry, command: func(ctx context.Context, s *stage) *exec.Cmd {
		return s.command(ctx, "", nil, self, publishCommand, s.url, s.commit, s.files.dir)
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
		env := []string{"GITHUB_TOKEN=" + token, "PEERS_HUB=" + s.url, "PEERS_FILES=" + s.files.dir}
		return s.command(ctx, "work", env, "sh", "-c", `git tag -f v1.4.0 >/dev/null && exec "$0" release --clean --config "$1"`, program, config)
	}}
}

// semanticReleaser is semantic-release with its plugin for GitHub. It decides on the
// version and pushes the tag itself, to a bare repository beside the project.
func semanticReleaser(program string) *releaser {
	env := func(s *stage) []string {
		origin := filepath.Join(s.dir, "origin.git")
		return []string{
			"GITHUB_TOKEN=" + token, "GITHUB_API_URL=" + s.url + "api/v3", "PEERS_FILES=" + s.files.dir,
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

// command returns a command in a directory of the stage, with nothing of this process's
// environment but what a program needs to run.
func (s *stage) command(ctx context.Context, dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := Command(ctx, filepath.Join(s.dir, dir), nil, name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "NO_COLOR=1"}, append(gitEnv, env...)...)
	return cmd
}

// paths are the files, sorted.
func (f *files) paths() []string {
	var all []string
	for _, name := range sorted(maps.Keys(f.want)) {
		all = append(all, filepath.Join(f.dir, name))
	}
	return all
}

// lastLine is what a person reads first: the last line of an output that isn't empty.
func lastLine(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
