package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// programs that blocks may run besides dagger and the repository's own scripts.
var programs = []string{
	"cargo", "cd", "cat", "cosign", "cp", "crane", "curl", "docker", "echo", "eval", "export", "gh", "git", "go", "kubectl", "mkdir", "npm", "oras", "regctl",
	"rustup", "sha256sum", "tee",
}

// subcommands of dagger.
var subcommands = []string{"call", "check", "develop", "functions", "init", "install", "update", "version"}

// shellWords splits a script into its commands, and these into words. Redirections are
// left out.
func shellWords(script string) (commands [][]string, err error) {
	script = strings.ReplaceAll(script, "\\\n", " ")
	var command []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	endWord := func() {
		if inWord {
			command = append(command, word.String())
		}
		word.Reset()
		inWord = false
	}
	endCommand := func() {
		endWord()
		if len(command) > 0 {
			commands = append(commands, command)
		}
		command = nil
	}
	redirection := regexp.MustCompile(`^[0-9]*(>>?|<)&?[^ \n|;]*$`)
	comment := false
	for i, r := range script {
		switch {
		case comment:
			if comment = r != '\n'; !comment {
				endCommand()
			}
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case r == '#' && !inWord && (i == 0 || strings.ContainsRune(" \n", rune(script[i-1]))):
			comment = true
		case strings.ContainsRune("\n|;", r) || r == '&' && !strings.HasSuffix(word.String(), ">"):
			endCommand()
		case r == ' ':
			endWord()
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("an open quote %c", quote)
	}
	endCommand()
	for i, c := range commands {
		commands[i] = slices.DeleteFunc(c, redirection.MatchString)
	}
	return slices.DeleteFunc(commands, func(c []string) bool { return len(c) == 0 }), nil
}

// checkScript checks the commands of a script.
func (m module) checkScript(script string) error {
	commands, err := shellWords(script)
	if err != nil {
		return err
	}
	assignment := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	for _, words := range commands {
		for len(words) > 0 && (assignment.MatchString(words[0]) || slices.Contains([]string{"do", "then", "else", "if", "while"}, words[0])) {
			words = words[1:]
		}
		if len(words) == 0 || slices.Contains([]string{"for", "done", "fi"}, words[0]) {
			continue
		}
		if err := m.checkCommand(words); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(words, " "), err)
		}
	}
	return nil
}

func (m module) checkCommand(words []string) error {
	program, own := strings.CutPrefix(words[0], "./")
	switch {
	case words[0] == "dagger":
		return m.checkDagger(words[1:])
	case own || strings.HasPrefix(program, "scripts/") || strings.HasPrefix(program, "examples/"):
		_, err := os.Stat(filepath.Join(root, program))
		return err
	case !slices.Contains(programs, program):
		return fmt.Errorf("the program %q is not known to the tests of the documentation", program)
	}
	return nil
}

// checkDagger checks a call of dagger: its subcommand, and of "call" the functions with
// their flags and values.
func (m module) checkDagger(words []string) error {
	if len(words) > 1 && words[0] == "-m" {
		words = words[2:]
	}
	if len(words) == 0 || !slices.Contains(subcommands, words[0]) {
		return fmt.Errorf("no subcommand of dagger: %v", words)
	}
	if words[0] != "call" {
		return nil
	}
	of, name := "Gantry", "new"
	now := m[""]["new"]
	given := map[string]bool{}
	for _, word := range words[1:] {
		if !strings.HasPrefix(word, "-") {
			if err := now.complete(name, given); err != nil {
				return err
			}
			next, ok := m[of][word]
			if !ok {
				return fmt.Errorf("%s has no function %q", of, word)
			}
			of, name, now, given = next.result, word, next, map[string]bool{}
			continue
		}
		if err := now.checkFlag(name, word, given); err != nil {
			return err
		}
	}
	return now.complete(name, given)
}

// complete fails if a required flag is missing.
func (f function) complete(name string, given map[string]bool) error {
	for flag, required := range f.flags {
		if required && !given[flag] {
			return fmt.Errorf("%s needs %s", name, flag)
		}
	}
	return nil
}

func (f function) checkFlag(name, word string, given map[string]bool) error {
	flag, value, hasValue := strings.Cut(word, "=")
	if name == "new" && (flag == "--progress" || flag == "-q") {
		return nil // of dagger itself
	}
	given[flag] = true
	_, known := f.flags[flag]
	values := f.values[flag]
	switch {
	case !known:
		return fmt.Errorf("%s has no flag %s", name, flag)
	case f.switches[flag] == hasValue:
		return fmt.Errorf("%s of %s is written with a value exactly if it has one: %s", flag, name, word)
	case len(values) > 0 && !slices.Contains(values, strings.ToLower(value)):
		return fmt.Errorf("%s of %s allows only %v: %s", flag, name, values, word)
	}
	return nil
}

func TestShellWords(t *testing.T) {
	got, err := shellWords("# a comment\nA=1 dagger call --x=\"$TAG\" 'two words' \\\n  more # rest\n\ncat a | tee b >>\"$OUT\" 2>&1 && cd c; echo d#e\n")
	assert.NoError(t, err)
	assert.Equal(t, [][]string{{"A=1", "dagger", "call", "--x=$TAG", "two words", "more"}, {"cat", "a"}, {"tee", "b"}, {"cd", "c"}, {"echo", "d#e"}}, got)
	_, err = shellWords("echo 'open\n")
	assert.ErrorContains(t, err, "an open quote '")
}

// What a page must not have is found.
func TestScriptsThatAreWrong(t *testing.T) {
	m := readModule(t)
	for script, want := range map[string]string{
		"dagger call --source=. release --tag=v1 plan":                                   "",
		"dagger -m github.com/o/n@v1 call module-version":                                "",
		"dagger call release publish --token=env:T --existing=FILL --dry-run >>\"$OUT\"": "",
		"dagger call toolchain --target=x with-exec --args=rustc,--version stdout":       "",
		"for t in a b; do\n  dagger call build --target=$t export --path=$t\ndone":       "",
		"dagger call releases":                                     `Gantry has no function "releases"`,
		"dagger call release publish":                              "publish needs --token",
		"dagger call release publish --token=env:T --force":        "publish has no flag --force",
		"dagger call release publish --token=env:T --dry-run=true": "exactly if it has one",
		"dagger call release publish --token":                      "exactly if it has one",
		"dagger call release publish --token=env:T --existing=all": "allows only [strict fill replace]",
		"dagger call images image publish":                         "image needs --tag",
		"dagger call --source=. release dist --path=dist":          "dist has no flag --path",
		"dagger run":                      "no subcommand",
		"dagger call release plan export": `string has no function "export"`,
		"./scripts/none":                  "no such file",
		"rm -rf /":                        `the program "rm" is not known`,
	} {
		err := m.checkScript(script)
		if want == "" {
			assert.NoError(t, err, script)
			continue
		}
		assert.ErrorContains(t, err, want, script)
	}
}
