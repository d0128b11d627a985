package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestStripCredentials(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"a plain clone", "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = git@github.com:o/r.git\n", "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = git@github.com:o/r.git\n"},
		{"actions/checkout", "[core]\n\tbare = false\n[http \"https://github.com/\"]\n\textraheader = AUTHORIZATION: basic c2VjcmV0\n[extensions]\n\tobjectformat = sha256\n", "[core]\n\tbare = false\n[extensions]\n\tobjectformat = sha256\n"},
		{"a token in a URL", "[remote \"origin\"]\n\turl = https://x-access-token:secret@github.com/o/r\n\tpushurl = https://secret@github.com/o/r", "[remote \"origin\"]\n\turl = https://github.com/o/r\n\tpushurl = https://github.com/o/r"},
		{"a token in a rewrite", "[url \"https://secret@github.com/\"]\n\tinsteadOf = https://github.com/", ""},
		{"a helper", "[credential]\n\thelper = \"!f() { echo password=secret; }; f\"\n[CORE]\n\tsshCommand = ssh -i secret\n\tautocrlf = true", "[CORE]\n\tautocrlf = true"},
		{"on one line", "[http] extraheader = secret\n[core] autocrlf = true\n[branch \"a]b\"]\n\tmerge = x", "[core]\n autocrlf = true\n[branch \"a]b\"]\n\tmerge = x"},
		{"over several lines", "[http]\n\textraheader = AUTH\\\nORIZATION: \\\n[core]secret\n[core]\n\tbare = false", "[core]\n\tbare = false"},
		{"an old header", "[http.https://github.com/]\n\textraheader = secret\n[remote.origin]\n\turl = https://a:secret@h/x", "[remote.origin]\n\turl = https://h/x"},
		{"before any section", "\textraheader = secret\n[core]\n\tbare = false", "[core]\n\tbare = false"},
		{"a proxy", "[remote \"origin\"]\n\tproxy = http://a:secret@proxy\n\turl = u", "[remote \"origin\"]\n\turl = u"},
	} {
		got := StripCredentials(c.config)
		assert.Equal(t, c.want, got, c.name)
		assert.NotContains(t, got, "secret", c.name)
		assert.NotContains(t, got, "c2VjcmV0", c.name)
		assert.Equal(t, got, StripCredentials(got), c.name)
	}
}
