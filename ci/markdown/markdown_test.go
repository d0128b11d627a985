package markdown

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"fix: it's 100 % fine!":         "fix: it's 100 % fine!",
		"<b>&amp;</b>":                  "&lt;b&gt;&amp;amp;&lt;/b&gt;",
		"a|b":                           "a&#124;b",
		"`x` *y* _z_ ~w~":               "&#96;x&#96; &#42;y&#42; &#95;z&#95; &#126;w&#126;",
		"![i](javascript:x)":            "!&#91;i&#93;(javascript:x)",
		`\| $x$`:                        `&#92;&#124; \$x\$`,
		"one\ntwo\r\nthree":             "one<br>two<br>three",
		"a\tb\x00c\x1b[31md\x7fe\rf é":  "a b c &#91;31md e<br>f é",
		"~~~\n# heading\n- item\n| x |": "&#126;&#126;&#126;<br># heading<br>- item<br>&#124; x &#124;",
	} {
		assert.Equal(t, want, Text(text), "%q", text)
	}
}

func TestCode(t *testing.T) {
	for value, want := range map[string]string{
		"":                        "",
		"app-1.2.3-x86_64.tar.gz": "`app-1.2.3-x86_64.tar.gz`",
		"--config /etc/app":       "`--config /etc/app`",
		"a@b:c+d=e,(f){g}\"h'i*":  "`a@b:c+d=e,(f){g}\"h'i*`",
		" padded":                 "<code> padded</code>",
		"padded ":                 "<code>padded </code>",
		"a|b":                     "<code>a&#124;b</code>",
		"a`b":                     "<code>a&#96;b</code>",
		"</code><script>":         "<code>&lt;/code&gt;&lt;script&gt;</code>",
		"two\nlines":              "<code>two<br>lines</code>",
	} {
		assert.Equal(t, want, Code(value), "%q", value)
	}
	assert.Equal(t, "`1.2`, <code>a&#124;b</code>", Codes([]string{"1.2", "a|b"}))
	assert.Empty(t, Codes(nil))
}

func TestTable(t *testing.T) {
	assert.Equal(t, "| asset |  |\n|---|---|\n| a | b |\n| c |  |\n", Table([]string{"asset", ""}, [][]string{{"a", "b"}, {"c", ""}}))
	assert.Empty(t, Table([]string{"asset"}, nil))
}

// No text ends its block: the fence is longer than any in the text.
func TestBlock(t *testing.T) {
	for text, want := range map[string]string{
		"a\n  b\n\n":       "```text\na\n  b\n```\n",
		"a\r\nb":           "```text\na\nb\n```\n",
		"x\n```\ny":        "````text\nx\n```\ny\n````\n",
		"x\n```````\ny ``": "````````text\nx\n```````\ny ``\n````````\n",
		"":                 "```text\n\n```\n",
	} {
		assert.Equal(t, want, Block(text), "%q", text)
	}
}

func TestReport(t *testing.T) {
	assert.Equal(t, "### Release of v1&#95;2\n\n<https://github.com/o/n/releases/tag/v1>\n\n```text\nrelease v1 of o/n\n  upload a\nat: https://github.com/o/n/releases/tag/v1\n```\n",
		Report("Release of v1_2", "release v1 of o/n\n  upload a\nat: https://github.com/o/n/releases/tag/v1\n"))
	// The addresses of fake servers lead nowhere, and others are no addresses.
	for _, text := range []string{"phase 1:\n  at: https://127.0.0.1/r", "at: javascript:x", "at: https://a b", "look at: https://a", "at: https://a>b"} {
		assert.Equal(t, "### R\n\n"+Block(text), Report("R", text))
	}
}
