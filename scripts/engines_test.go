// Package scripts tests how the scripts choose an engine, and what they report about
// the Dagger and Docker that are installed on a machine. Programs of a test's making
// stand in for both.
package scripts

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// machine is a directory of programs, and a home for what scripts leave.
type machine struct {
	t        *testing.T
	dir      string
	registry string
}

// readScripts has Go's cache of test results depend on the scripts, which only bash reads.
func readScripts(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"*.sh", "up", "own/*", "docker/*", "registry/*", "images/oci.sh", "../dagger.json"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			_, err := os.ReadFile(file)
			require.NoError(t, err)
		}
	}
}

// newMachine has the programs of the system, but no Dagger and no container runtime. Its
// registry has every image.
func newMachine(t *testing.T) machine {
	t.Helper()
	readScripts(t)
	m := machine{t: t, dir: t.TempDir()}
	require.NoError(t, os.Mkdir(filepath.Join(m.dir, "bin"), 0o755))
	for _, program := range []string{
		"bash", "env", "awk", "cat", "curl", "cut", "date", "dirname", "git", "go", "grep", "head", "ip", "jq", "mkdir", "mv",
		"readlink", "sed", "sha256sum", "sleep", "sort", "tail", "timeout", "tr", "xargs",
	} {
		path, err := exec.LookPath(program)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(m.dir, "bin", program)))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Content-Digest", "sha256:0000")
	}))
	t.Cleanup(server.Close)
	m.registry = strings.TrimPrefix(server.URL, "http://")
	return m
}

// program installs a shell script.
func (m machine) program(name, script string) {
	m.t.Helper()
	path := filepath.Join(m.dir, "bin", name)
	require.NoError(m.t, os.WriteFile(path, []byte("#!/usr/bin/env bash\n"+script+"\n"), 0o755))
}

// bash runs a script after lib.sh, and returns what it prints and whether it succeeds.
func (m machine) bash(script string, env ...string) (string, error) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), filepath.Join(m.dir, "bin", "bash"), "-euo", "pipefail", "-c", "source ./lib.sh; "+script)
	cmd.Env = append([]string{
		"PATH=" + filepath.Join(m.dir, "bin"), "HOME=" + m.dir, "GOFLAGS=-mod=mod",
		"GANTRY_OURS=" + filepath.Join(m.dir, "ours"), "GANTRY_REGISTRY=" + m.registry,
	}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestChoiceOfEngine(t *testing.T) {
	const dagger, docker = "dagger", "docker"
	for name, c := range map[string]struct {
		programs []string
		ours     bool
		env      []string
		want     string
	}{
		"nothing installed":                   {want: "bare"},
		"only Docker":                         {programs: []string{docker}, want: "bare"},
		"only Dagger":                         {programs: []string{dagger}, want: "bare"},
		"Dagger and Docker":                   {programs: []string{dagger, docker}, want: "own"},
		"Dagger and podman":                   {programs: []string{dagger, "podman"}, want: "own"},
		"Dagger and finch":                    {programs: []string{dagger, "finch"}, want: "own"},
		"Dagger and nerdctl":                  {programs: []string{dagger, "nerdctl"}, want: "own"},
		"Dagger and an engine elsewhere":      {programs: []string{dagger}, env: []string{"_EXPERIMENTAL_DAGGER_RUNNER_HOST=tcp://there"}, want: "own"},
		"the Dagger is of scripts/up":         {programs: []string{dagger, docker}, ours: true, want: "bare"},
		"chosen over what is installed":       {programs: []string{dagger, docker}, env: []string{"GANTRY_ENGINE=docker"}, want: "docker"},
		"chosen over what scripts/up made":    {programs: []string{dagger, docker}, ours: true, env: []string{"GANTRY_ENGINE=own"}, want: "own"},
		"chosen though it cannot work":        {env: []string{"GANTRY_ENGINE=own"}, want: "own"},
		"an empty choice is none":             {env: []string{"GANTRY_ENGINE="}, want: "bare"},
		"bare though Docker could start that": {programs: []string{dagger, docker}, env: []string{"GANTRY_ENGINE=bare"}, want: "bare"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			for _, p := range c.programs {
				m.program(p, "exit 1")
			}
			if c.ours {
				require.NoError(t, os.Mkdir(filepath.Join(m.dir, "ours"), 0o755))
			}
			out, err := m.bash("gantry_engine", c.env...)
			require.NoError(t, err, out)
			assert.Equal(t, c.want+"\n", out)
		})
	}

	m := newMachine(t)
	out, err := m.bash("gantry_env", "GANTRY_ENGINE=podman")
	require.Error(t, err)
	assert.Equal(t, "error: GANTRY_ENGINE is \"podman\": it can be own, bare or docker\n", out)
	out, err = m.bash("gantry_env", "GANTRY_ENGINE=own")
	require.Error(t, err)
	assert.Contains(t, out, "error: dagger is not installed: see https://docs.dagger.io/install")
}

func TestUpArguments(t *testing.T) {
	m := newMachine(t)
	for _, args := range []string{"--docker --print-env", "--print-env --docker"} {
		out, err := m.bash("./up "+args, "GANTRY_ENGINE=own")
		require.NoError(t, err, out)
		assert.Contains(t, out, "export GANTRY_ENGINE=docker\nunset _EXPERIMENTAL_DAGGER_RUNNER_HOST")
		assert.Contains(t, out, "export DOCKER_HOST=unix:///")
	}
	out, err := m.bash("./up --podman")
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 2, exit.ExitCode())
	assert.Contains(t, out, "scripts/up [--own|--bare|--docker]")
}

// The environment of one engine has nothing left of another's.
func TestEnvironment(t *testing.T) {
	m := newMachine(t)
	m.program("dagger", "exit 1")
	show := "gantry_env; echo \"$GANTRY_ENGINE|${_EXPERIMENTAL_DAGGER_RUNNER_HOST:-}|${DOCKER_HOST:-}|$_EXPERIMENTAL_DAGGER_CLI_BIN|${PATH%%:*}|$GANTRY_REGISTRY_IN_CONTAINERS\""
	port := m.registry[strings.Index(m.registry, ":"):]
	bin, cache := filepath.Join(m.dir, "bin"), filepath.Join(m.dir, ".cache/gantry/docker/cli")
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"bare":               {[]string{"GANTRY_ENGINE=bare"}, "bare|unix:///run/dagger/engine.sock||/usr/local/bin/dagger|/usr/local/bin|10.87.0.1" + port},
		"docker":             {[]string{"GANTRY_ENGINE=docker", "_EXPERIMENTAL_DAGGER_RUNNER_HOST=x", "DOCKER_HOST=y"}, "docker||unix:///run/gantry/docker.sock|" + cache + "/dagger|" + cache + "|172.29.0.1" + port},
		"another bridge":     {[]string{"GANTRY_ENGINE=docker", "GANTRY_DOCKER_GATEWAY=172.30.0.1"}, "docker||unix:///run/gantry/docker.sock|" + cache + "/dagger|" + cache + "|172.30.0.1" + port},
		"own":                {[]string{"GANTRY_ENGINE=own", "DOCKER_HOST=y", "GANTRY_HOST_IN_CONTAINERS=1.2.3.4"}, "own||y|" + bin + "/dagger|" + bin + "|1.2.3.4" + port},
		"registry elsewhere": {[]string{"GANTRY_ENGINE=bare", "GANTRY_REGISTRY_IN_CONTAINERS=registry.test"}, "bare|unix:///run/dagger/engine.sock||/usr/local/bin/dagger|/usr/local/bin|registry.test"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := m.bash(show, append(c.env, "XDG_RUNTIME_DIR=/run")...)
			require.NoError(t, err, out)
			if os.Geteuid() != 0 {
				out = strings.ReplaceAll(out, "/run/gantry-"+strings.TrimSpace(run(t, "id", "-u")), "/run/gantry")
			}
			assert.Equal(t, c.want+"\n", out)
		})
	}

	// What one engine set does not reach the programs of another.
	out, err := m.bash("gantry_env; with_engine docker bash -c 'source ./lib.sh; gantry_env; echo $GANTRY_REGISTRY_IN_CONTAINERS'", "GANTRY_ENGINE=bare")
	require.NoError(t, err, out)
	assert.Equal(t, "172.29.0.1"+port+"\n", out)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	require.NoError(t, err)
	return string(out)
}

// dagger is a Dagger of a version that fails at what fails matches.
func dagger(version, fails string) string {
	return `case "$*" in
  version) echo "dagger ` + version + ` (image://registry.dagger.io/engine) linux/amd64" ;;
  *` + fails + `*) echo "no luck with $*" >&2; exit 1 ;;
esac`
}

func TestOwnEngine(t *testing.T) {
	const works = "exit 0"
	none := "nothing-fails"
	for name, c := range map[string]struct {
		programs map[string]string
		env      []string
		want     []string // in what it prints
		fails    bool
	}{
		"works": {
			programs: map[string]string{"dagger": dagger("v0.19.10", none), "docker": works},
			want:     []string{"Dagger v0.19.10 with docker is used as it is installed; the engine answers."},
		},
		"podman": {
			programs: map[string]string{"dagger": dagger("v0.19.10", none), "podman": works},
			want:     []string{"Dagger v0.19.10 with podman is used"},
		},
		"engine elsewhere": {
			programs: map[string]string{"dagger": dagger("v0.19.10", none), "docker": "exit 1"},
			env:      []string{"_EXPERIMENTAL_DAGGER_RUNNER_HOST=tcp://there"},
			want:     []string{"Dagger v0.19.10 with tcp://there is used"},
		},
		"newer": {
			programs: map[string]string{"dagger": dagger("v0.21.7", none), "docker": works},
			want:     []string{"warning: Dagger v0.21.7 is installed; Gantry's tests pass with v0.19.10", "Dagger v0.21.7 with docker is used"},
		},
		"older": {
			programs: map[string]string{"dagger": dagger("v0.9.11", none), "docker": works}, fails: true,
			want: []string{"error: Dagger v0.9.11 is installed, Gantry needs v0.19.10 or later: install that, or let Gantry make a separate engine: GANTRY_ENGINE=docker"},
		},
		"no version": {
			programs: map[string]string{"dagger": "echo nonsense", "docker": works}, fails: true,
			want: []string{"error: `dagger version` prints no version: install Dagger v0.19.10"},
		},
		"no runtime": {
			programs: map[string]string{"dagger": dagger("v0.19.10", none)}, fails: true,
			want: []string{"error: dagger is installed, but neither docker, podman, finch nor nerdctl"},
		},
		// Dagger takes docker, though podman runs.
		"docker does not run": {
			programs: map[string]string{"dagger": dagger("v0.19.10", none), "docker": "echo Cannot connect >&2; exit 1", "podman": works}, fails: true,
			want: []string{"Cannot connect", "error: docker is installed, so Dagger uses it, but it does not answer: start it, remove it from PATH, or let"},
		},
		"engine does not start": {
			programs: map[string]string{"dagger": dagger("v0.19.10", "version"), "docker": works}, fails: true,
			want: []string{"no luck with core --progress=plain version", "error: docker runs, but the engine of Dagger v0.19.10 does not: see above, or let"},
		},
		// The CLI waits for a container that was made and does not run.
		"engine's container does not start": {
			programs: map[string]string{
				"dagger": "[[ $1 == version ]] && echo v0.19.10 || exec sleep 600",
				"docker": "case $1 in ps) echo dagger-engine-v0.19.10 ;; inspect) [[ $4 == dagger-engine-v0.19.10 ]] && echo unable to apply caps ;; esac",
			}, fails: true,
			want: []string{"docker made the engine's container and does not start it:\n      unable to apply caps\n", "error: docker runs, but the engine of Dagger v0.19.10 does not"},
		},
		"no images": {
			programs: map[string]string{"dagger": dagger("v0.19.10", "busybox"), "docker": works}, fails: true,
			want: []string{"no luck with core --progress=plain container", "error: the engine reaches no docker.io: name a mirror in ~/.config/dagger/engine.json"},
		},
		"firewall": {
			programs: map[string]string{"dagger": dagger("v0.19.10", "http"), "docker": works}, fails: true,
			want: []string{"error: the engine does not reach this machine's registry at 10.0.0.1:", "is there a firewall? GANTRY_HOST_IN_CONTAINERS sets another address"},
		},
		"no address": {
			programs: map[string]string{"dagger": dagger("v0.19.10", none), "docker": works, "ip": "exit 1"}, fails: true,
			env:  []string{"GANTRY_HOST_IN_CONTAINERS="},
			want: []string{"error: no address of this machine is known by which containers reach it: set GANTRY_HOST_IN_CONTAINERS"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			for name, script := range c.programs {
				_ = os.Remove(filepath.Join(m.dir, "bin", name))
				m.program(name, script)
			}
			out, err := m.bash("GANTRY_ENGINE=own ./up", append([]string{"GANTRY_HOST_IN_CONTAINERS=10.0.0.1"}, c.env...)...)
			assert.Equal(t, c.fails, err != nil, out)
			for _, want := range c.want {
				assert.Contains(t, out, want)
			}
			if c.fails {
				assert.NotContains(t, out, "is used as it is installed")
			}
		})
	}
}

func TestNeed(t *testing.T) {
	m := newMachine(t)
	out, err := m.bash("need git; echo reached; need git skopeo gh; echo not reached")
	require.Error(t, err)
	assert.Equal(t, "reached\nerror: not installed: skopeo gh (on Debian: apt-get install skopeo gh)\n", out)
}

func TestEngineState(t *testing.T) {
	m := newMachine(t)
	state := t.TempDir()
	m.program("dagger", "exit 1")
	m.program("docker", "case $1 in ps) echo other; echo dagger-engine-v0.21.7 ;; inspect) [[ $4 == dagger-engine-v0.21.7 || $4 == dagger-engine-v0.19.10 ]] && echo \"$STATE\" ;; esac")
	m.program("podman", "exit 0")
	for name, c := range map[string]struct {
		env   []string
		want  string
		fails bool
	}{
		"bare":      {env: []string{"GANTRY_ENGINE=bare"}, want: "/var/lib/dagger"},
		"docker":    {env: []string{"GANTRY_ENGINE=docker", "STATE=" + state}, want: state},
		"own":       {env: []string{"GANTRY_ENGINE=own", "STATE=" + state}, want: state},
		"elsewhere": {env: []string{"GANTRY_ENGINE=own", "_EXPERIMENTAL_DAGGER_RUNNER_HOST=x"}, want: "the engine is elsewhere", fails: true},
		"unreadable": {
			env: []string{"GANTRY_ENGINE=own", "STATE=/no/such/directory"}, fails: true,
			want: `this user can't read docker's volume "/no/such/directory"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := m.bash("engine_state", c.env...)
			assert.Equal(t, c.fails, err != nil, out)
			assert.Equal(t, c.want+"\n", out)
		})
	}
	require.NoError(t, os.Remove(filepath.Join(m.dir, "bin", "docker")))
	out, err := m.bash("engine_state", "GANTRY_ENGINE=own")
	require.Error(t, err)
	assert.Equal(t, "podman runs no engine\n", out)
}

// The runtime wrapper removes one capability, wherever runc would ask for it.
func TestBoundedRunc(t *testing.T) {
	m := newMachine(t)
	m.program("runc", "printf '%s\\n' \"$*\"")
	const capabilities = `{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"],"ambient":null}`
	const bounded = `{"bounding":["CAP_CHOWN"],"effective":[],"ambient":null}`
	file := filepath.Join(m.dir, "config.json")
	for _, c := range []struct{ args, text, want string }{
		{"--root x create --bundle " + m.dir + " --pid-file p id", `{"process":{"args":["CAP_SYS_RESOURCE"],"capabilities":` + capabilities + `}}`, `{"process":{"args":["CAP_SYS_RESOURCE"],"capabilities":` + bounded + `}}`},
		{"run -b " + m.dir + " id", `{"process":{"capabilities":` + capabilities + `}}`, `{"process":{"capabilities":` + bounded + `}}`},
		{"create --bundle " + m.dir + " id", `{"process":{}}`, `{"process":{}}`},
		{"exec --process " + file + " --detach id", `{"capabilities":` + capabilities + `}`, `{"capabilities":` + bounded + `}`},
		{"kill id KILL", `{"capabilities":` + capabilities + `}`, `{"capabilities":` + capabilities + `}`},
	} {
		require.NoError(t, os.WriteFile(file, []byte(c.text), 0o644))
		out, err := m.bash("docker/bounded-runc " + c.args)
		require.NoError(t, err, out)
		assert.Equal(t, c.args+"\n", out)
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.JSONEq(t, c.want, string(got))
	}
}
