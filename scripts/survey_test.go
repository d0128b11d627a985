package scripts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeRelease stands in for dagger. It plans each program, and builds those that aren't
// called "broken" or "offline"; of "half", only the targets of x86_64. $CALLS gets a line
// for each call.
const fakeRelease = `
words=" $* "
log() { printf '%s\n' "$*" >>"$CALLS"; }
directory=${words##*--path=} directory=${directory%% *}
if [[ $words == *" core "* ]]; then
  mkdir -p "$directory"
  while read -r said; do echo "app 1.0.0" >"$directory/${said##*/}"; done < <(grep -o 'redirect-stdout=[^ ]*' <<<"$words")
  exit
fi
name=${words##*/survey/} name=${name%%/*}
if [[ $words == *" as-json "* ]]; then
  log "plan $name"
  if [[ $name == small && ! -e $CALLS.mounted ]]; then touch "$CALLS.mounted"; echo "Error: call constructor: failed to mount y" >&2; exit 1; fi
  if [[ $name == offline ]]; then echo "Error: call constructor: dial tcp: Connection refused" >&2; exit 1; fi
  echo '{"problems": []}'
  exit
fi
only=$(grep -o -- '--targets=[^ ]*' <<<"$words" || true)
log "dist $name ${only#*=}"
if [[ $name == slow ]]; then sleep 30; fi
if [[ $name == broken || $name == half && ${only:-aarch64} == *aarch64* ]]; then echo "Error: exit status 101:
error[E0432]: unresolved import" >&2; exit 1; fi
mkdir -p "$directory"
for target in {x86_64,aarch64}-unknown-linux-{gnu,musl}; do
  [[ ! $only || $only == *"$target" ]] || continue
  mkdir -p "$directory/app"
  echo ELF >"$directory/app/app"
  chmod +x "$directory/app/app"
  tar -C "$directory" -czf "$directory/app-1.0.0-$target.tar.gz" app
  rm -r "$directory/app"
done
cd "$directory" && sha256sum *.tar.gz >SHA256SUMS
`

// fakeRegistry stands in for curl, and serves one crate under any name.
const fakeRegistry = `
url=${!#}
case $url in
  */config.json) echo '{"dl": "https://crates.example"}' ;;
  */download) [[ $2 == -o ]] && cp "$CRATE" "$3" ;;
  *) printf '{"vers": "1.0.0", "yanked": false, "cksum": "%s"}\n' "$(sha256sum <"$CRATE" | cut -c 1-64)" ;;
esac
`

// newSurvey makes a copy of what scripts/survey needs, with a list of programs.
func newSurvey(t *testing.T, programs ...string) (m machine, root string) {
	t.Helper()
	m = newMachine(t)
	root = filepath.Join(m.dir, "gantry")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "scripts"), 0o755))
	for _, name := range []string{"lib.sh", "programs.sh", "survey", "../version.go"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, "scripts", name), text, 0o755))
	}
	list := "# a comment\n"
	for _, name := range programs {
		list += name + " 1.0.0 7\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "scripts/survey.list"), []byte(list), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(root, "scripts/up"), []byte("#!/bin/sh\n"), 0o755))
	for _, program := range []string{"cp", "chmod", "df", "flock", "gzip", "mktemp", "nice", "pgrep", "rm", "sleep", "tar", "touch", "find"} {
		path, err := exec.LookPath(program)
		require.NoError(t, err)
		_ = os.Remove(filepath.Join(m.dir, "bin", program))
		require.NoError(t, os.Symlink(path, filepath.Join(m.dir, "bin", program)))
	}
	git := exec.CommandContext(t.Context(), "bash", "-c", "git init -q && git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m x")
	git.Dir = root
	require.NoError(t, git.Run())
	sources, err := filepath.Glob("findings/*.go")
	require.NoError(t, err)
	for _, source := range sources { // as readScripts does
		_, err := os.ReadFile(source)
		require.NoError(t, err)
	}
	findings := filepath.Join(m.dir, "findings")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", findings, "./findings").CombinedOutput()
	require.NoError(t, err, string(out))
	crate := filepath.Join(m.dir, "crate")
	require.NoError(t, os.WriteFile(crate, crateOf(t), 0o644))
	for name, script := range map[string]string{"dagger": fakeRelease, "curl": fakeRegistry, "go": `cp "$FINDINGS" "$3"`} {
		require.NoError(t, os.RemoveAll(filepath.Join(m.dir, "bin", name)))
		m.program(name, script)
	}
	return m, root
}

// crateOf returns a crate with a manifest.
func crateOf(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	text := "[package]\nname = \"app\"\n"
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "app-1.0.0/Cargo.toml", Mode: 0o644, Size: int64(len(text))}))
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return b.Bytes()
}

// survey runs the script, and returns what it prints and the calls of dagger.
func (m machine) survey(root string, args ...string) (out, calls string, err error) {
	m.t.Helper()
	log := filepath.Join(m.dir, "calls")
	require.NoError(m.t, os.WriteFile(log, nil, 0o644))
	out, err = m.bash("cd "+root+"; scripts/survey "+strings.Join(args, " "), "GANTRY_ENGINE=own", "GANTRY_SURVEY_FREE=0", "CALLS="+log,
		"CRATE="+filepath.Join(m.dir, "crate"), "FINDINGS="+filepath.Join(m.dir, "findings"))
	text, readErr := os.ReadFile(log)
	require.NoError(m.t, readErr)
	return out, string(text), err
}

// A survey goes on after each failure, records what became of a program, and tries only
// the others again.
func TestSurvey(t *testing.T) {
	m, root := newSurvey(t, "small", "half", "offline", "broken")
	out, calls, err := m.survey(root, "--plan")
	require.Error(t, err, out)
	assert.Contains(t, out, "1 of 4: small 1.0.0: planned (")
	assert.Contains(t, out, "error: not tried, since something else failed: offline: run the same command again")
	assert.Equal(t, "plan small\nplan small\nplan half\nplan offline\nplan broken\n", calls, "a layer that can't be mounted is tried again")

	out, calls, err = m.survey(root)
	require.Error(t, err, out)
	assert.Contains(t, out, "1 of 4: small 1.0.0: started, 4 of 4 targets built, 4 started (")
	assert.Contains(t, out, "2 of 4: half 1.0.0: source, 2 of 4 targets built, 2 started: error[E0432]: unresolved import (")
	assert.Contains(t, out, "3 of 4: error: the machine failed: call constructor: dial tcp: Connection refused (")
	assert.Contains(t, out, "4 of 4: broken 1.0.0: source, 0 of 4 targets built, 0 started: error[E0432]")
	each := func(name string) string {
		return fmt.Sprintf("dist %[1]s x86_64-unknown-linux-gnu\ndist %[1]s aarch64-unknown-linux-gnu\ndist %[1]s x86_64-unknown-linux-musl\ndist %[1]s aarch64-unknown-linux-musl\n", name)
	}
	assert.Equal(t, "plan small\ndist small \nplan half\ndist half \n"+each("half")+"plan offline\nplan broken\ndist broken \n"+each("broken"), calls)
	left, err := os.ReadDir(filepath.Join(root, "out/survey"))
	require.NoError(t, err)
	assert.Empty(t, left, "the files of programs are removed")

	out, calls, err = m.survey(root)
	require.Error(t, err, out)
	assert.Contains(t, out, "1 of 4: small 1.0.0 has a result")
	assert.Equal(t, "plan offline\n", calls)

	out, calls, err = m.survey(root, "--again", "--only", "small")
	require.NoError(t, err, out)
	assert.Equal(t, "plan small\ndist small \n", calls)

	out, _, err = m.survey(root, "--only", "smal", "--only", "half")
	require.Error(t, err)
	assert.Contains(t, out, "error: not all of these are in scripts/survey.list: smal half")
}

// A survey that is ended ends what it runs, and the next one goes on.
func TestSurveyEnded(t *testing.T) {
	m, root := newSurvey(t, "slow")
	calls := filepath.Join(m.dir, "calls")
	out, err := m.bash("cd "+root+`; scripts/survey & survey=$!
		until grep -q dist "$CALLS" 2>/dev/null; do sleep 0.1; done
		kill "$survey"; wait "$survey" || echo "status $?"; gone() { ! pgrep -f "$PWD/out" >/dev/null; }
		until_true 10 gone && echo "nothing runs"; flock -n .cache/gantry/survey/lock bash -c 'echo not locked'`,
		"GANTRY_ENGINE=own", "GANTRY_SURVEY_FREE=0", "CALLS="+calls, "GANTRY_CACHE="+filepath.Join(root, ".cache/gantry"),
		"CRATE="+filepath.Join(m.dir, "crate"), "FINDINGS="+filepath.Join(m.dir, "findings"))
	require.NoError(t, err, out)
	assert.Contains(t, out, "error: ended by a signal: the same command goes on from here\n")
	assert.Contains(t, out, "status 1\nnothing runs\nnot locked\n")
}

// A build that takes too long is ended, and the survey is told why.
func TestSurveyLimit(t *testing.T) {
	m, root := newSurvey(t, "slow")
	out, _, err := m.survey(root, "--limit", "0")
	require.Error(t, err)
	assert.Contains(t, out, "error: --limit needs a number of minutes")
	text, err := os.ReadFile(filepath.Join(root, "scripts/survey"))
	require.NoError(t, err)
	// A minute of this test is a second.
	require.NoError(t, os.WriteFile(filepath.Join(root, "scripts/survey"), bytes.ReplaceAll(text, []byte("minutes * 60"), []byte("minutes")), 0o755))
	out, calls, err := m.survey(root, "--limit", "5")
	require.NoError(t, err, out)
	assert.Contains(t, out, "1 of 1: slow 1.0.0: time: not finished in 5 min (")
	assert.Equal(t, "plan slow\ndist slow \n", calls)
}
