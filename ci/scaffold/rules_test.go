package scaffold

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// workflow has what the rules look at in a workflow of GitHub or Forgejo.
type workflow struct {
	On          map[string]any    `yaml:"on"`
	Permissions map[string]string `yaml:"permissions"`
	Concurrency struct {
		Group            string `yaml:"group"`
		CancelInProgress *bool  `yaml:"cancel-in-progress"`
	} `yaml:"concurrency"`
	Env  map[string]string `yaml:"env"`
	Jobs map[string]struct {
		Needs       string            `yaml:"needs"`
		If          string            `yaml:"if"`
		Timeout     int               `yaml:"timeout-minutes"`
		Permissions map[string]string `yaml:"permissions"`
		Strategy    struct {
			Matrix string `yaml:"matrix"`
		} `yaml:"strategy"`
		Steps []struct {
			Uses string            `yaml:"uses"`
			Run  string            `yaml:"run"`
			With map[string]string `yaml:"with"`
			Env  map[string]string `yaml:"env"`
		} `yaml:"steps"`
	} `yaml:"jobs"`
}

// keyless is the directory, in the paths of workflows, of those that sign without a key.
const keyless = "keyless/"

// workflows returns the workflows of GitHub and Forgejo by path, and their texts.
func workflows(t *testing.T) (parsed map[string]workflow, texts map[string]string) {
	t.Helper()
	parsed, texts = map[string]workflow{}, map[string]string{}
	for _, o := range variants() {
		if o.CI != GitHub && o.CI != Forgejo {
			continue
		}
		for path, text := range filesOf(t, o, project) {
			if o.Keyless {
				path = keyless + path
			}
			var w workflow
			require.NoError(t, yaml.Unmarshal([]byte(text), &w), path)
			require.NotEmpty(t, w.Jobs, path)
			parsed[path], texts[path] = w, text
		}
	}
	require.Len(t, parsed, 10)
	return parsed, texts
}

func TestEventsOfWorkflows(t *testing.T) {
	parsed, _ := workflows(t)
	events := map[string][]string{}
	for path, w := range parsed {
		for event := range w.On {
			events[path] = append(events[path], event)
		}
		slices.Sort(events[path])
	}
	assert.Equal(t, map[string][]string{
		".github/workflows/release.yml":    {"push", "workflow_dispatch"},
		".github/workflows/images.yml":     {"release", "repository_dispatch", "workflow_dispatch"},
		".github/workflows/reconcile.yml":  {"schedule", "workflow_dispatch"},
		".github/workflows/rehearse.yml":   {"pull_request"},
		".forgejo/workflows/release.yml":   {"push", "workflow_dispatch"},
		".forgejo/workflows/reconcile.yml": {"schedule", "workflow_dispatch"},
		".forgejo/workflows/rehearse.yml":  {"pull_request"},

		keyless + ".github/workflows/release.yml":  {"push", "workflow_dispatch"},
		keyless + ".github/workflows/images.yml":   {"release", "repository_dispatch", "schedule", "workflow_dispatch"},
		keyless + ".github/workflows/rehearse.yml": {"pull_request"},
	}, events)
	for _, dir := range []string{"", keyless} {
		images := parsed[dir+".github/workflows/images.yml"].On
		assert.Equal(t, map[string]any{"types": []any{"published", "released"}}, images["release"])
		assert.Equal(t, map[string]any{"types": []any{"gantry-release-published"}}, images["repository_dispatch"])
	}
	assert.Equal(t, parsed[".github/workflows/reconcile.yml"].On["schedule"], parsed[keyless+".github/workflows/images.yml"].On["schedule"])
	assert.Equal(t, map[string]any{"tags": []any{"v?[0-9]+.[0-9]+.[0-9]+*", "app-v?[0-9]+.[0-9]+.[0-9]+*"}}, parsed[".github/workflows/release.yml"].On["push"])
}

// A job has the permissions that it needs, and a workflow none.
func TestPermissions(t *testing.T) {
	parsed, texts := workflows(t)
	given := map[string]map[string]string{}
	for path, w := range parsed {
		assert.Contains(t, texts[path], "\npermissions: {}\n", path)
		assert.Empty(t, w.Permissions, path)
		for name, job := range w.Jobs {
			require.NotNil(t, job.Permissions, "%s %s has the default", path, name)
			given[path+" "+name] = job.Permissions
		}
	}
	read := map[string]string{"contents": "read"}
	assert.Equal(t, map[string]map[string]string{
		".github/workflows/release.yml plan":         read,
		".github/workflows/release.yml build":        read,
		".github/workflows/release.yml publish":      {"contents": "write"},
		".github/workflows/release.yml attest":       {"attestations": "write", "id-token": "write"},
		".github/workflows/images.yml publish":       {"contents": "read", "packages": "write"},
		".github/workflows/reconcile.yml reconcile":  {"contents": "read", "packages": "write"},
		".github/workflows/rehearse.yml rehearse":    read,
		".forgejo/workflows/release.yml release":     read,
		".forgejo/workflows/release.yml image":       {},
		".forgejo/workflows/reconcile.yml reconcile": {},
		".forgejo/workflows/rehearse.yml rehearse":   read,

		keyless + ".github/workflows/release.yml plan":      read,
		keyless + ".github/workflows/release.yml build":     read,
		keyless + ".github/workflows/release.yml publish":   {"contents": "write", "id-token": "write"},
		keyless + ".github/workflows/release.yml attest":    {"attestations": "write", "id-token": "write"},
		keyless + ".github/workflows/images.yml publish":    {"contents": "read", "packages": "write", "id-token": "write"},
		keyless + ".github/workflows/images.yml reconcile":  {"contents": "read", "packages": "write", "id-token": "write"},
		keyless + ".github/workflows/rehearse.yml rehearse": read,
	}, given)
}

// publishes matches a command that signs what it publishes.
var publishes = regexp.MustCompile(`( publish | reconcile )`)

// Only a job that signs can get an identity, and the variables of the identity are those
// that GitHub sets in each of its steps. There is one way to sign in a file.
func TestIdentitiesOfWorkflows(t *testing.T) {
	parsed, texts := workflows(t)
	signing := 0
	for path, w := range parsed {
		for name, job := range w.Jobs {
			gets := job.Permissions["id-token"] == "write"
			for _, step := range job.Steps {
				published := publishes.MatchString(step.Run)
				assert.Equal(t, published && strings.HasPrefix(path, keyless), strings.Contains(step.Run, " "+identities[GitHub]+" "), "%s %s", path, name)
				if published && gets || strings.HasPrefix(step.Uses, "actions/attest@") {
					gets = false
					signing++
				}
				for key := range step.Env {
					assert.NotContains(t, key, "ID_TOKEN", "%s %s: GitHub sets it", path, name)
				}
			}
			assert.False(t, gets, "%s %s has an identity and signs nothing", path, name)
		}
		if strings.HasPrefix(path, keyless) {
			assert.NotRegexp(t, "(?i)cosign|signing-key|--builder", texts[path], path)
		} else {
			assert.NotContains(t, texts[path], "ID_TOKEN", path)
		}
	}
	assert.Equal(t, 3+2, signing, "three jobs sign, and GitHub attests the release in both variants")
}

// Without a key, all images are signed as one workflow, and an event starts only the job
// that is for it. With a key, the file doesn't matter.
func TestIdentityOfImages(t *testing.T) {
	parsed, _ := workflows(t)
	jobs := map[string]string{}
	for path, w := range parsed {
		for name, job := range w.Jobs {
			for _, step := range job.Steps {
				if strings.HasPrefix(strings.TrimPrefix(path, keyless), ".github/") && strings.Contains(step.Run, " images ") {
					jobs[path+" "+name] = job.If
				}
			}
		}
	}
	assert.Equal(t, map[string]string{
		keyless + ".github/workflows/images.yml publish":   "github.event_name != 'schedule'",
		keyless + ".github/workflows/images.yml reconcile": "github.event_name == 'schedule'",
		".github/workflows/images.yml publish":             "",
		".github/workflows/reconcile.yml reconcile":        "",
	}, jobs)
	steps := parsed[keyless+".github/workflows/images.yml"].Jobs
	assert.Contains(t, steps["publish"].Steps[1].Run, ` from-event --event="$GITHUB_EVENT_PATH" publish `)
	assert.Contains(t, steps["reconcile"].Steps[1].Run, " reconcile ")
}

// On GitLab, the jobs that sign have an identity, and no others.
func TestIdentitiesOfGitLab(t *testing.T) {
	for _, o := range variants() {
		if o.CI != GitLab {
			continue
		}
		text := filesOf(t, o, project)[".gitlab/gantry.yml"]
		var file map[string]struct {
			Tokens map[string]map[string]string `yaml:"id_tokens"`
			Script []string                     `yaml:"script"`
		}
		require.NoError(t, yaml.Unmarshal([]byte(text), &file))
		var signing []string
		for name, job := range file {
			script := strings.Join(job.Script, "\n")
			if !o.Keyless || !publishes.MatchString(script) {
				assert.Nil(t, job.Tokens, name)
				assert.NotContains(t, script, "ID_TOKEN", name)
				continue
			}
			signing = append(signing, name)
			assert.Equal(t, map[string]map[string]string{"SIGSTORE_ID_TOKEN": {"aud": "sigstore"}}, job.Tokens, name)
			assert.Contains(t, script, " "+identities[GitLab]+"\n", name)
		}
		if o.Keyless {
			assert.ElementsMatch(t, []string{"gantry:release", "gantry:image", "gantry:reconcile"}, signing)
		}
	}
}

// Nobody can change an action after it was reviewed, and no checkout leaves a token.
func TestActions(t *testing.T) {
	parsed, texts := workflows(t)
	pinned := regexp.MustCompile(`^ +uses: ([a-z-]+/[a-z-]+)@([0-9a-f]{40}) # (v[0-9]+\.[0-9]+\.[0-9]+)$`)
	commits := map[string]string{}
	for path, text := range texts {
		for _, line := range strings.Split(text, "\n") {
			if !strings.Contains(line, "uses:") {
				continue
			}
			match := pinned.FindStringSubmatch(line)
			if assert.NotNil(t, match, "%s: %s", path, line) {
				commits[match[1]+" "+match[3]] = match[2]
			}
		}
	}
	assert.Len(t, commits, 5)
	assert.Equal(t, "1e69f48acb82d1966a394da916b4c1698aa569d6", commits["actions/attest v4.2.2"])
	assert.Equal(t, "3d3c42e5aac5ba805825da76410c181273ba90b1", commits["actions/checkout v7.0.1"])
	for path, w := range parsed {
		for name, job := range w.Jobs {
			source, checkouts := false, 0
			for _, step := range job.Steps {
				source = source || strings.Contains(step.Run, "--source")
				if !strings.HasPrefix(step.Uses, "actions/checkout@") {
					continue
				}
				checkouts++
				assert.Equal(t, "false", step.With["persist-credentials"], "%s %s", path, name)
				assert.Equal(t, "0", step.With["fetch-depth"], "%s %s", path, name)
			}
			assert.Equal(t, source, checkouts == 1, "%s %s: only a call with a source needs it", path, name)
			assert.Positive(t, job.Timeout, "%s %s", path, name)
		}
	}
}

// Releases are never cancelled, and of one tag there is one at a time.
func TestConcurrency(t *testing.T) {
	parsed, _ := workflows(t)
	for path, w := range parsed {
		require.NotEmpty(t, w.Concurrency.Group, path)
		require.NotNil(t, w.Concurrency.CancelInProgress, path)
		assert.Equal(t, strings.HasSuffix(path, "rehearse.yml"), *w.Concurrency.CancelInProgress, path)
	}
	assert.Equal(t, "release-${{ inputs.tag || github.ref_name }}", parsed[".github/workflows/release.yml"].Concurrency.Group)
	// Phase 2 waits for no release and holds none up.
	assert.Equal(t, "images-${{ github.event.client_payload.tag || github.event.release.tag_name || inputs.tag }}", parsed[".github/workflows/images.yml"].Concurrency.Group)
	// A schedule has no tag: its runs are in the same group in both variants.
	assert.Equal(t, "reconcile", parsed[".github/workflows/reconcile.yml"].Concurrency.Group)
	assert.Equal(t, "${{ github.event_name == 'schedule' && 'reconcile' || format('images-{0}', github.event.client_payload.tag || github.event.release.tag_name || inputs.tag) }}",
		parsed[keyless+".github/workflows/images.yml"].Concurrency.Group)
}

// The text of a script never depends on the run, and pull requests get no secret.
func TestScriptsOfWorkflows(t *testing.T) {
	parsed, texts := workflows(t)
	expression := regexp.MustCompile(`\$\{\{(.*?)\}\}`)
	for path, w := range parsed {
		tokens := 0
		for name, job := range w.Jobs {
			for _, step := range job.Steps {
				assert.NotContains(t, step.Run, "${{", "%s %s", path, name)
				for key, value := range step.Env {
					if strings.Contains(key, "TOKEN") || strings.Contains(key, "PASSWORD") {
						assert.Regexp(t, expression, value)
						assert.Contains(t, step.Run, "env:"+key, "%s %s: a secret that the step doesn't use", path, name)
						tokens++
					}
				}
			}
		}
		if strings.HasSuffix(path, "rehearse.yml") {
			assert.Zero(t, tokens, path)
			assert.NotRegexp(t, `secrets\.|github\.token`, texts[path])
		} else {
			assert.NotZero(t, tokens, path)
		}
		for key, value := range w.Env {
			assert.NotRegexp(t, `secrets|github\.token`, value, "%s: %s is for all steps", path, key)
		}
	}
}

// The jobs of phase 1 fan out and in, and phase 2 comes after it.
func TestOrder(t *testing.T) {
	parsed, texts := workflows(t)
	release := parsed[".github/workflows/release.yml"]
	assert.Equal(t, "plan", release.Jobs["build"].Needs)
	assert.Equal(t, "${{ fromJSON(needs.plan.outputs.matrix) }}", release.Jobs["build"].Strategy.Matrix)
	assert.Equal(t, "build", release.Jobs["publish"].Needs)
	assert.Equal(t, "publish", release.Jobs["attest"].Needs, "what GitHub attests is published")
	assert.Contains(t, texts[".github/workflows/release.yml"], "publish --token=env:GITHUB_TOKEN --dispatch")
	assert.Equal(t, "release", parsed[".forgejo/workflows/release.yml"].Jobs["image"].Needs)

	text := func(ci CI, path string) string {
		o := options
		o.CI = ci
		return filesOf(t, o, project)[path]
	}
	var gitlab map[string]struct {
		Needs []string            `yaml:"needs"`
		Rules []map[string]string `yaml:"rules"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(text(GitLab, ".gitlab/gantry.yml")), &gitlab))
	assert.Equal(t, []string{"gantry:check"}, gitlab["gantry:release"].Needs)
	assert.Equal(t, []string{"gantry:release"}, gitlab["gantry:image"].Needs)
	assert.Equal(t, []map[string]string{{"if": `$CI_COMMIT_TAG =~ /^(app-)?v?[0-9]+[.][0-9]+[.][0-9]+.*/`}}, gitlab["gantry:image"].Rules)

	var circle struct {
		Workflows map[string]struct {
			Jobs []map[string]struct {
				Requires []string                     `yaml:"requires"`
				Filters  map[string]map[string]string `yaml:"filters"`
			} `yaml:"jobs"`
		} `yaml:"workflows"`
	}
	config := strings.ReplaceAll(text(CircleCI, ".circleci/config.yml"), "      - reconcile\n", "      - reconcile: {}\n")
	require.NoError(t, yaml.Unmarshal([]byte(config), &circle))
	jobs := circle.Workflows["release"].Jobs
	require.Len(t, jobs, 2)
	assert.Equal(t, []string{"release"}, jobs[1]["image"].Requires)
	assert.Equal(t, jobs[0]["release"].Filters, jobs[1]["image"].Filters, "CircleCI runs no job for a tag without them")
	assert.Equal(t, map[string]map[string]string{"branches": {"ignore": "/.*/"}, "tags": {"only": `/^(app-)?v?[0-9]+[.][0-9]+[.][0-9]+.*/`}}, jobs[0]["release"].Filters)

	var buildkite struct {
		Steps []struct {
			Key   string `yaml:"key"`
			After string `yaml:"depends_on"`
			If    string `yaml:"if"`
		} `yaml:"steps"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(text(Buildkite, ".buildkite/pipeline.yml")), &buildkite))
	require.Len(t, buildkite.Steps, 3)
	assert.Equal(t, "release", buildkite.Steps[0].Key)
	assert.Equal(t, "release", buildkite.Steps[1].After)
	assert.Equal(t, buildkite.Steps[0].If, buildkite.Steps[1].If)

	jenkins := text(Jenkins, "Jenkinsfile")
	assert.Less(t, strings.Index(jenkins, "stage('Release')"), strings.Index(jenkins, "stage('Image')"))
	assert.Equal(t, strings.Count(jenkins, "{"), strings.Count(jenkins, "}"))
	assert.Zero(t, strings.Count(jenkins, "'''")%2)
}

// scriptKeys are the keys of scripts in the files of all providers.
var scriptKeys = []string{"run", "command", "script", "before_script"}

// scriptsIn returns the scripts below a node of YAML.
func scriptsIn(n *yaml.Node) (all []string) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && slices.Contains(scriptKeys, n.Content[i-1].Value) {
			switch child.Kind {
			case yaml.ScalarNode:
				all = append(all, child.Value)
			case yaml.SequenceNode:
				for _, line := range child.Content {
					all = append(all, line.Value)
				}
			}
		}
		all = append(all, scriptsIn(child)...)
	}
	return all
}

// Every script of every provider is one that a shell reads, and in which shellcheck
// finds nothing.
func TestScripts(t *testing.T) {
	quoted := regexp.MustCompile(`(?s)sh '''(.*?)'''`)
	for _, o := range variants() {
		ci := o.CI
		var scripts []string
		for path, text := range filesOf(t, o, project) {
			switch ci {
			case Script:
				scripts = append(scripts, text)
			case Jenkins:
				for _, match := range quoted.FindAllStringSubmatch(text, -1) {
					assert.NotRegexp(t, `\\[^\n]`, match[1], "Groovy reads it")
					scripts = append(scripts, match[1])
				}
			default:
				var n yaml.Node
				require.NoError(t, yaml.Unmarshal([]byte(text), &n), path)
				scripts = append(scripts, scriptsIn(&n)...)
			}
		}
		calls := 0
		for _, script := range scripts {
			if ci == Buildkite {
				assert.NotRegexp(t, `(^|[^$])\$([^$]|$)`, script, "the upload of the pipeline would put a value there")
				script = strings.ReplaceAll(script, "$$", "$")
			}
			calls += strings.Count(script, "dagger call")
			for _, checker := range [][]string{{"sh", "-n"}, {"shellcheck", "--shell=sh", "-"}} {
				cmd := exec.CommandContext(t.Context(), checker[0], checker[1:]...)
				cmd.Stdin = strings.NewReader(script)
				out, err := cmd.CombinedOutput()
				assert.NoError(t, err, "%s: %s\n%s", ci, script, out)
			}
		}
		assert.GreaterOrEqual(t, calls, 4, "%s", ci)
	}
}
