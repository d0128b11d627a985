package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// runner runs the scripts of generated files as their CI would: in a shell, with the
// CI's variables.
type runner struct {
	// dir is the checkout.
	dir string
	// env has the CI's variables. It wins over that of a file, so that a test can
	// change where images go.
	env map[string]string
	// log is all that was printed, and summary the job summary of GitHub.
	log     bytes.Buffer
	summary string
	// attested are the checksums that GitHub was asked to attest.
	attested string
	// ran counts the scripts with a call of Dagger.
	ran int
}

// newRunner has a `dagger` that reaches the test's registry too. Everything else of
// the scripts stays as it is.
func newRunner(t *testing.T, source string, env map[string]string) *runner {
	t.Helper()
	program, err := exec.LookPath("dagger")
	require.NoError(t, err)
	inside := os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	require.NotEmpty(t, inside, "set by scripts/test: the registry, as containers see it")
	bin := t.TempDir()
	wrapper := fmt.Sprintf(`#!/bin/sh
first=yes phase=1
for arg; do
  if [ "$first" ]; then set --; first=; fi
  case $phase$arg in
    1images) phase=2 ;;
    2image | 2from-event | 2reconcile) set -- "$@" with-plain-http --host=%[2]s with-mirror --host=gcr.io --url=http://%[2]s ;;
  esac
  set -- "$@" "$arg"
  if [ "$arg" = rehearse ]; then set -- "$@" --mirrors=gcr.io=http://%[2]s; fi
done
exec %[1]s --progress=plain "$@"
`, program, inside)
	require.NoError(t, os.WriteFile(filepath.Join(bin, "dagger"), []byte(wrapper), 0o755))
	r := &runner{dir: filepath.Join(t.TempDir(), "checkout"), env: maps.Clone(env), summary: filepath.Join(bin, "summary.md")}
	run(t, "", "git", "clone", "-q", source, r.dir)
	r.env["PATH"] = bin + ":" + os.Getenv("PATH")
	r.env["GITHUB_STEP_SUMMARY"] = r.summary
	return r
}

// script runs one script in a directory.
func (r *runner) script(t *testing.T, shell, dir, text string, env map[string]string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	shellArgs := append(strings.Fields(shell), "-c", text)
	cmd := exec.CommandContext(ctx, shellArgs[0], shellArgs[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "NO_COLOR=1")
	for _, vars := range []map[string]string{env, r.env} {
		for key, value := range vars {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	out, err := cmd.CombinedOutput()
	r.log.Write(out)
	if strings.Contains(text, "dagger call") {
		r.ran++
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", text, err, tail(string(out)))
	}
	return nil
}

// steps are the scripts of a job, with their variables.
type steps struct {
	shell   string
	scripts []string
	env     map[string]string
}

// run runs a job in the checkout. What installs Dagger is skipped, since it is there.
func (r *runner) run(t *testing.T, job steps) error {
	t.Helper()
	require.NotEmpty(t, job.scripts)
	for _, text := range job.scripts {
		if strings.HasPrefix(text, "curl ") {
			continue
		}
		if err := r.script(t, job.shell, r.dir, text, job.env); err != nil {
			return err
		}
	}
	return nil
}

// initialize has Gantry make the files of a CI in an empty directory, and returns it.
func initialize(t *testing.T, source, ci string) string {
	t.Helper()
	dir := t.TempDir()
	applied, err := initIn(t, dir, source, ci)
	require.NoError(t, err, applied)
	return dir
}

// initIn calls init in a directory. The module is the one under test.
func initIn(t *testing.T, dir, source, ci string, args ...string) (string, error) {
	t.Helper()
	args = append([]string{"-m", root(t), "call", "--progress=plain", "-y", "--source=" + source, "init", "--ci=" + ci, "--module=" + root(t)}, args...)
	cmd := exec.CommandContext(t.Context(), "dagger", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(text)
}

// jobs of a provider: a release, its image, and the schedule.
type jobs struct{ release, image, reconcile steps }

// providers read the jobs from the files that init made.
var providers = map[string]struct {
	// tag is the variable with the pushed tag.
	tag  string
	jobs func(t *testing.T, dir string) jobs
}{
	"gitlab":    {"CI_COMMIT_TAG", gitlabJobs},
	"forgejo":   {"", nil}, // runs as a workflow
	"circleci":  {"CIRCLE_TAG", circleJobs},
	"buildkite": {"BUILDKITE_TAG", buildkiteJobs},
	"jenkins":   {"TAG_NAME", jenkinsJobs},
	"script":    {"", scriptJobs},
}

func gitlabJobs(t *testing.T, dir string) jobs {
	assert.Contains(t, read(t, dir, ".gitlab-ci.yml"), "local: .gitlab/gantry.yml")
	var file map[string]struct {
		Variables map[string]string `yaml:"variables"`
		Script    []string          `yaml:"script"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, dir, ".gitlab/gantry.yml")), &file))
	job := func(names ...string) steps {
		s := steps{"sh -e", nil, maps.Clone(file[".gantry"].Variables)}
		for key := range s.env {
			if strings.HasPrefix(key, "DOCKER_") {
				delete(s.env, key) // of the runner's Docker
			}
		}
		for _, name := range names {
			s.scripts = append(s.scripts, file[name].Script...)
		}
		return s
	}
	return jobs{job("gantry:check", "gantry:release"), job("gantry:image"), job("gantry:reconcile")}
}

func circleJobs(t *testing.T, dir string) jobs {
	var file struct {
		Executors map[string]struct {
			Environment map[string]string `yaml:"environment"`
		} `yaml:"executors"`
		Jobs map[string]struct {
			Steps []yaml.Node `yaml:"steps"`
		} `yaml:"jobs"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, dir, ".circleci/config.yml")), &file))
	job := func(name string) steps {
		s := steps{"bash -eo pipefail", nil, file.Executors["gantry"].Environment}
		for _, node := range file.Jobs[name].Steps {
			var step struct {
				Run struct {
					Command string `yaml:"command"`
				} `yaml:"run"`
			}
			if node.Kind == yaml.MappingNode {
				require.NoError(t, node.Decode(&step))
			}
			if step.Run.Command != "" {
				s.scripts = append(s.scripts, step.Run.Command)
			}
		}
		return s
	}
	return jobs{job("release"), job("image"), job("reconcile")}
}

func buildkiteJobs(t *testing.T, dir string) jobs {
	var file struct {
		Env   map[string]string `yaml:"env"`
		Steps []struct {
			Key     string `yaml:"key"`
			Command string `yaml:"command"`
		} `yaml:"steps"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, dir, ".buildkite/pipeline.yml")), &file))
	job := func(key string) steps {
		s := steps{"bash -e", nil, file.Env}
		for _, step := range file.Steps {
			if step.Key == key {
				s.scripts = append(s.scripts, strings.ReplaceAll(step.Command, "$$", "$")) // as its upload does
			}
		}
		return s
	}
	return jobs{job("release"), job("image"), job("reconcile")}
}

func jenkinsJobs(t *testing.T, dir string) jobs {
	text := read(t, dir, "Jenkinsfile")
	env := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^    ([A-Z_]+) = '(.*)'$`).FindAllStringSubmatch(text, -1) {
		env[match[1]] = match[2]
	}
	job := func(stage string) steps {
		_, text, found := strings.Cut(text, "stage('"+stage+"')")
		require.True(t, found, stage)
		text, _, _ = strings.Cut(text, "stage('")
		s := steps{"sh -xe", nil, env}
		for _, match := range regexp.MustCompile(`(?s)sh '''(.*?)'''`).FindAllStringSubmatch(text, -1) {
			s.scripts = append(s.scripts, strings.ReplaceAll(match[1], "\\\n", "")) // as Groovy does
		}
		return s
	}
	return jobs{job("Release"), job("Image"), job("Reconcile")}
}

func scriptJobs(_ *testing.T, dir string) jobs {
	job := func(commands ...string) steps {
		s := steps{"sh -e", nil, nil}
		for _, c := range commands {
			s.scripts = append(s.scripts, filepath.Join(dir, "release.sh")+" "+c+" # dagger call")
		}
		return s
	}
	return jobs{job("check v1.0.0", "release v1.0.0"), job("image v1.0.0"), job("reconcile")}
}

// addresses returns an image repository of the test's registry, as the machine and as
// containers see it, and an address where none answers.
func addresses(t *testing.T, name string) (local, inside, dead string) {
	t.Helper()
	repository := fmt.Sprintf("/test/%s-%d", name, time.Now().UnixNano())
	inside = os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	return os.Getenv("GANTRY_REGISTRY") + repository, inside + repository, strings.Split(inside, ":")[0] + ":1" + repository
}

// Every provider's own commands release a tag. Phase 2 comes after it; where it fails,
// the release stays as it is, and the job of phase 2 is run again on its own.
func TestProviders(t *testing.T) {
	source := tiny(t, "repository = \"https://github.com/example/tiny\"\n\n[package.metadata.gantry]\ntargets = [\"x86_64-unknown-linux-musl\"]\n")
	for _, ci := range slices.Sorted(maps.Keys(providers)) {
		t.Run(ci, func(t *testing.T) {
			h := newHub(t, source)
			local, inside, dead := addresses(t, ci)
			dir := initialize(t, source, ci)
			r := newRunner(t, source, map[string]string{
				"GITHUB_ADDRESS": h.api, "RELEASE_TOKEN": canary, "IMAGE": dead,
				"REGISTRY_USERNAME": "robot", "REGISTRY_PASSWORD": canary, "REGISTRY_USR": "robot", "REGISTRY_PSW": canary,
			})
			p := providers[ci]
			var release, image, reconcile func() error
			if p.jobs != nil {
				r.env[p.tag] = "v1.0.0"
				delete(r.env, "")
				j := p.jobs(t, dir)
				release, image, reconcile = func() error { return r.run(t, j.release) }, func() error { return r.run(t, j.image) }, func() error { return r.run(t, j.reconcile) }
			} else {
				w := readWorkflow(t, dir, ".forgejo/workflows/release.yml")
				contexts := map[string]string{"github.ref_name": "v1.0.0", "secrets.RELEASE_TOKEN": canary, "secrets.REGISTRY_USERNAME": "robot", "secrets.REGISTRY_PASSWORD": canary}
				job := func(w workflow, name string) func() error {
					return func() error { return r.workflow(t, w, source, contexts, name) }
				}
				release, image, reconcile = job(w, "release"), job(w, "image"), job(readWorkflow(t, dir, ".forgejo/workflows/reconcile.yml"), "reconcile")
			}

			require.NoError(t, release())
			require.Equal(t, "v1.0.0", h.repo.Latest())
			released := h.Dump()
			require.ErrorContains(t, image(), "connection refused", "no registry is there")
			r.env["IMAGE"] = inside
			require.NoError(t, image(), "phase 2 can be run again on its own")
			_, err := remote.Index(must(t, local+":1.0.0"))
			require.NoError(t, err, "the image is not there")
			require.NoError(t, reconcile())
			assert.Contains(t, r.log.String(), "v1.0.0: ok: nothing is missing")
			require.NoError(t, release(), "a complete release is no error")
			assert.Equal(t, released, h.Dump(), "phase 2 or the second run changed the release")
			assert.GreaterOrEqual(t, r.ran, 5)
			assert.NotContains(t, r.log.String(), canary, "a secret was printed")
		})
	}
}

// workflow has what a run needs of a workflow of GitHub or Forgejo.
type workflow struct {
	Env  map[string]string `yaml:"env"`
	Jobs map[string]struct {
		Needs    string            `yaml:"needs"`
		Outputs  map[string]string `yaml:"outputs"`
		Strategy struct {
			Matrix string `yaml:"matrix"`
		} `yaml:"strategy"`
		Steps []step `yaml:"steps"`
	} `yaml:"jobs"`
}

type step struct {
	ID   string            `yaml:"id"`
	Uses string            `yaml:"uses"`
	With map[string]string `yaml:"with"`
	Run  string            `yaml:"run"`
	Env  map[string]string `yaml:"env"`
}

func readWorkflow(t *testing.T, path ...string) (w workflow) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(read(t, path...)), &w))
	return w
}

var expression = regexp.MustCompile(`\$\{\{ (.*?) \}\}`)

// expand evaluates the expressions of a text: values of contexts, and the first of
// several that is not empty.
func expand(text string, contexts map[string]string) string {
	return expression.ReplaceAllStringFunc(text, func(match string) string {
		inner := strings.TrimSuffix(strings.TrimPrefix(expression.FindStringSubmatch(match)[1], "fromJSON("), ")")
		for _, name := range strings.Split(inner, " || ") {
			if value := contexts[name]; value != "" {
				return value
			}
		}
		return ""
	})
}

func expandAll(values, contexts map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range values {
		out[key] = expand(value, contexts)
	}
	return out
}

// workflow runs jobs of a workflow, or all of them for no names, each on a runner with
// a checkout of its own. Artifacts are kept from job to job.
func (r *runner) workflow(t *testing.T, w workflow, source string, contexts map[string]string, names ...string) error {
	t.Helper()
	contexts = maps.Clone(contexts)
	env := expandAll(w.Env, contexts)
	for key, value := range env {
		contexts["env."+key] = value
	}
	if len(names) == 0 {
		names = slices.SortedFunc(maps.Keys(w.Jobs), func(a, b string) int { return w.depth(a) - w.depth(b) })
	}
	artifacts := t.TempDir()
	for _, name := range names {
		job := w.Jobs[name]
		require.NotEmpty(t, job.Steps, name)
		matrix := struct{ Include []map[string]any }{[]map[string]any{{}}}
		if job.Strategy.Matrix != "" {
			require.NoError(t, json.Unmarshal([]byte(expand(job.Strategy.Matrix, contexts)), &matrix))
			require.NotEmpty(t, matrix.Include)
		}
		for _, values := range matrix.Include {
			for key, value := range values {
				contexts["matrix."+key] = fmt.Sprint(value)
			}
			r.dir = filepath.Join(t.TempDir(), "workspace")
			require.NoError(t, os.MkdirAll(r.dir, 0o755))
			contexts["runner.temp"] = t.TempDir()
			for _, s := range job.Steps {
				if err := r.step(t, s, source, artifacts, env, contexts); err != nil {
					return fmt.Errorf("job %s: %w", name, err)
				}
			}
		}
		for key, value := range expandAll(job.Outputs, contexts) {
			contexts["needs."+name+".outputs."+key] = value
		}
	}
	return nil
}

// depth counts the jobs before a job.
func (w workflow) depth(name string) int {
	if before := w.Jobs[name].Needs; before != "" {
		return 1 + w.depth(before)
	}
	return 0
}

// step runs a step, and does what the actions do that the workflows use.
func (r *runner) step(t *testing.T, s step, source, artifacts string, env, contexts map[string]string) error {
	t.Helper()
	with := expandAll(s.With, contexts)
	action, _, _ := strings.Cut(s.Uses, "@")
	switch action {
	case "":
	case "actions/checkout":
		run(t, r.dir, "git", "clone", "-q", "--no-checkout", source, ".")
		ref := with["ref"]
		if ref == "" {
			ref = "HEAD"
		}
		run(t, r.dir, "git", "checkout", "-q", "--detach", ref)
	case "dagger/dagger-for-github":
		require.Equal(t, "v0.19.10", with["version"])
	case "actions/upload-artifact":
		run(t, "", "cp", "-r", with["path"], filepath.Join(artifacts, with["name"]))
	case "actions/attest":
		sums, err := os.ReadFile(with["subject-checksums"])
		require.NoError(t, err)
		r.attested = string(sums)
	case "actions/download-artifact":
		if name := with["name"]; name != "" { // its content, not a directory of its name
			require.NoError(t, os.MkdirAll(with["path"], 0o755))
			run(t, "", "cp", "-r", filepath.Join(artifacts, name)+"/.", with["path"])
			break
		}
		found, err := filepath.Glob(filepath.Join(artifacts, with["pattern"]))
		require.NoError(t, err)
		require.NotEmpty(t, found)
		require.NoError(t, os.MkdirAll(with["path"], 0o755))
		run(t, "", "cp", append(append([]string{"-r"}, found...), with["path"])...)
	default:
		t.Fatalf("the test does not know action %q", s.Uses)
	}
	if s.Run == "" || strings.HasPrefix(s.Run, "curl ") {
		return nil
	}
	vars := maps.Clone(env)
	maps.Copy(vars, expandAll(s.Env, contexts))
	output := filepath.Join(t.TempDir(), "output")
	vars["GITHUB_OUTPUT"], vars["RUNNER_TEMP"] = output, contexts["runner.temp"]
	if err := r.script(t, "bash -e", r.dir, s.Run, vars); err != nil {
		return err
	}
	if text, err := os.ReadFile(output); err == nil {
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			key, value, _ := strings.Cut(line, "=")
			contexts["steps."+s.ID+".outputs."+key] = value
		}
	}
	return nil
}
