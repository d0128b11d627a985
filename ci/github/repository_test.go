package github

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The token goes to github.com only for a repository of github.com, or one that
// the caller named.
func TestRepositoryAt(t *testing.T) {
	for _, x := range []struct{ named, page, host, want, err string }{
		{page: "https://github.com/o/app", host: "github.com", want: "o/app"},
		{page: "https://GitHub.com/o/app.git", host: "github.com", want: "o/app"},
		{page: "https://www.github.com/o/app/", host: "github.com", want: "o/app"},
		{page: "https://github.com/o/app/tree/main/crates/app", host: "github.com", want: "o/app"},
		{page: "https://ghe.example/o/app", host: "ghe.example", want: "o/app"},
		{page: "https://github.com/o/app", host: "127.0.0.1:8080", want: "o/app"},
		{named: "a/b", page: "https://gitlab.com/o/app", host: "github.com", want: "a/b"},
		{page: "https://gitlab.com/o/app", host: "github.com", err: "pass --github=https://gitlab.com if"},
		{page: "https://ghe.example:8443/o/app", host: "github.com", err: "pass --github=https://ghe.example:8443 if"},
		{page: "https://github.com.evil.example/o/app", host: "github.com", err: "is not on github.com"},
		{page: "https://user:secret@ghe.example/o/app", host: "github.com", err: "https://user:xxxxx@ghe.example/o/app"},
		{page: "", host: "github.com", err: "is unknown: pass --repository"},
		{page: "https://github.com/o", host: "github.com", err: `"o" is not owner/name`},
		{named: "a/b/c", host: "github.com", err: `"a/b/c" is not owner/name`},
		{named: "a", host: "github.com", err: "is not owner/name"},
		{named: "/a", host: "github.com", err: `"/a" is not owner/name`},
		{named: "a/", host: "github.com", err: `"a/" is not owner/name`},
		{page: "https://github.com", host: "github.com", err: `"" is not owner/name`},
		{page: "https://[github.com/o/app", host: "github.com", err: "is unknown: pass --repository"},
		{page: "o/app", host: "github.com", want: "o/app"},
	} {
		owner, name, err := RepositoryAt(x.named, x.page, x.host)
		if x.err != "" {
			require.ErrorContains(t, err, x.err, x.page)
			continue
		}
		require.NoError(t, err, x.page)
		require.Equal(t, x.want, owner+"/"+name)
	}
	c, err := New(Options{APIURL: "https://ghe.example/api/v3/"})
	require.NoError(t, err)
	require.Equal(t, "ghe.example", c.Host())
	c, err = New(Options{})
	require.NoError(t, err)
	require.Equal(t, "github.com", c.Host())
}
