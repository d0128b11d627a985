package docs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/release/reproduce"
)

// check checks a code block by its language.
func (m module) check(b block) error {
	switch b.language {
	case "sh":
		return m.checkShell(b.text)
	case "toml":
		if b.title != "" { // the file of another tool
			var any map[string]any
			_, err := toml.Decode(b.text, &any)
			return err
		}
		return checkConfiguration(b.text)
	case "yaml":
		return m.checkYAML(b.text)
	case "json":
		var any any
		return json.Unmarshal([]byte(b.text), &any)
	case "go":
		_, err := format.Source([]byte(b.text))
		return err
	case "dotenv":
		return m.checkSettings(b.text)
	case "dockerfile":
		if !strings.HasPrefix(strings.TrimSpace(b.text), "FROM ") {
			return errors.New("a Dockerfile starts with FROM")
		}
		return nil
	case "text":
		return checkOutput(b.text)
	}
	return fmt.Errorf("the language %q is not one that the tests can check: write one of sh, toml, yaml, json, go, dotenv, dockerfile, text", b.language)
}

// checkShell checks the syntax of a script, and its commands.
func (m module) checkShell(script string) error {
	cmd := exec.Command("bash", "-n")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return m.checkScript(script)
}

// checkYAML checks a file of a CI: its syntax, and the scripts of GitHub's workflows.
func (m module) checkYAML(text string) error {
	var content any
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		return err
	}
	var errs []error
	var walk func(value any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, v := range value {
				if script, ok := v.(string); ok && key == "run" {
					errs = append(errs, m.checkShell(script))
				}
				walk(v)
			}
		case []any:
			for _, v := range value {
				walk(v)
			}
		}
	}
	walk(content)
	return errors.Join(errs...)
}

// checkSettings checks a .env file: each setting is one of the constructor.
func (m module) checkSettings(text string) error {
	var names []string
	for flag := range m[""]["new"].flags {
		names = append(names, "GANTRY_"+strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(flag, "--"), "-", "")))
	}
	for line := range strings.Lines(text) {
		if name, _, _ := strings.Cut(line, "="); !slices.Contains(names, name) {
			return fmt.Errorf("no setting has the name %q", name)
		}
	}
	return nil
}

// project loads a workspace of one package, "app", with a configuration.
func project(config string) (*plan.Project, error) {
	var content map[string]map[string]any
	if _, err := toml.Decode(config, &content); err != nil {
		return nil, err
	}
	for table, keys := range content {
		for key := range keys {
			if table != "workspace" && table != "package" || key != "metadata" {
				return nil, fmt.Errorf("[%s.%s] is not metadata", table, key)
			}
		}
	}
	target := func(name string) map[string]any { return map[string]any{"name": name, "kind": []string{"bin"}} }
	raw, err := json.Marshal(map[string]any{
		"workspace_root": "/src", "workspace_members": []string{"app"}, "metadata": content["workspace"]["metadata"],
		"packages": []any{map[string]any{
			"id": "app", "name": "app", "version": "1.2.3", "manifest_path": "/src/Cargo.toml", "repository": "https://github.com/owner/app",
			"targets": []any{target("app"), target("server")}, "features": map[string]any{}, "metadata": content["package"]["metadata"],
		}},
	})
	if err != nil {
		return nil, err
	}
	return plan.Load(raw, "/src", []string{"Cargo.toml", "Cargo.lock"})
}

// checkConfiguration reads a configuration as a release does.
func checkConfiguration(text string) error {
	_, err := project(text)
	return err
}

// checkReport compares a block with the beginning of a report of verify-reproducible.
func checkReport(text string) error {
	same := sha256.Sum256([]byte("hello\n"))
	c := reproduce.Conditions{}
	differs := c.Check("app", []byte("Dec  1 2026 20:53:44"), []byte("Jan  6 2028 02:00:55"))
	differs.Findings[0].Section, differs.Findings[0].Offset, differs.Findings[0].Symbol = ".rodata", 0x41a8, "stamp of stamp.c"
	report := reproduce.Report{Tag: "v1.2.3", Targets: []reproduce.Target{{Name: "x86_64-unknown-linux-gnu", Files: []reproduce.Result{differs, {Name: "app-admin", Sum: hex.EncodeToString(same[:])}}}}}
	if want := "Error: " + report.Err().Error(); !strings.HasPrefix(want, text) {
		return fmt.Errorf("not the report, which is:\n%s", want)
	}
	return nil
}

// checkOutput compares a block with what is printed: the files of a release, or a report.
func checkOutput(text string) error {
	if strings.HasPrefix(text, "Error: ") {
		return checkReport(text)
	}
	p, err := project("")
	if err != nil {
		return err
	}
	released, err := p.Plan("v1.2.3", plan.Git{}, nil)
	if err != nil {
		return err
	}
	if want := "dist/\n  " + strings.Join(released.Assets, "\n  ") + "\n"; text != want {
		return fmt.Errorf("not the files of a release, which are:\n%s", want)
	}
	return nil
}

func TestBlocks(t *testing.T) {
	m := readModule(t)
	blocks := 0
	for page, text := range pages(t) {
		for _, b := range blocksOf(page, text) {
			blocks++
			assert.NoError(t, m.check(b), "%s:%d", b.page, b.line)
		}
	}
	assert.Greater(t, blocks, 20)
}

func TestBlocksThatAreWrong(t *testing.T) {
	m := readModule(t)
	for _, c := range []struct{ block, want string }{
		{"```\nx\n```", `the language "" is not one`},
		{"```python\nx\n```", `the language "python" is not one`},
		{"```sh\nif\n```", "syntax error"},
		{"```sh\ndagger call relase\n```", `no function "relase"`},
		{"```toml\n[workspace.metadata.gantry]\ntarget-dir = 1\n```", `unknown key "target-dir"`},
		{"```toml\n[package.metadata.gantry.image]\nuser = 1\n```", `"image.user" must be a string`},
		{"```toml\n[workspace.metadata.gantry]\ntargets = [\"none\"]\n```", "none"},
		{"```toml\n[gantry]\nuser = 1\n```", "is not metadata"},
		{"```toml other.toml\n= 1\n```", "expected"},
		{"```yaml\na: b: c\n```", "mapping"},
		{"```yaml\njobs:\n  a:\n    steps:\n      - run: dagger call relase\n```", `no function "relase"`},
		{"```json\n{\n```", "JSON"},
		{"```go\nfunc (\n```", "expected"},
		{"```dotenv\nGANTRY_MANIFEST_PATH=x\n```", `no setting has the name "GANTRY_MANIFEST_PATH"`},
		{"```dockerfile\nRUN x\n```", "starts with FROM"},
		{"```text\ndist/\n  other\n```", "not the files of a release"},
	} {
		blocks := blocksOf("page", c.block+"\n")
		require.Len(t, blocks, 1)
		assert.ErrorContains(t, m.check(blocks[0]), c.want, c.block)
	}
	assert.NoError(t, m.check(block{language: "toml", title: "other.toml", text: "a = 1\n"}))
}

// The tags of other tools name the component and its version, as docs/with-others.md
// describes.
func TestTagsOfOtherTools(t *testing.T) {
	for tag, config := range map[string]string{
		"v1.2.3":     "",
		"1.2.3":      "",
		"app-v1.2.3": "",
		"app-1.2.3":  "",
		"app/v1.2.3": "[package.metadata.gantry]\ntag-prefix = \"app/\"\n",
	} {
		p, err := project(config)
		require.NoError(t, err)
		released, err := p.Plan(tag, plan.Git{Present: true, Commit: strings.Repeat("1", 40)}, nil)
		require.NoError(t, err, tag)
		assert.Equal(t, "app", released.Component, tag)
		assert.Equal(t, "1.2.3", released.Version, tag)
		for _, message := range released.Messages(plan.SeverityError) {
			assert.NotContains(t, message, "tag ", tag)
		}
	}
	p, err := project("")
	require.NoError(t, err)
	_, err = p.Plan("app/v1.2.3", plan.Git{}, nil)
	assert.Error(t, err, "a slash needs a tag-prefix")
}
