package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dagger/gantry/ci/fakehub"
)

// sampleRepository is the sample's name on the fake GitHub, sampleRemote its address for
// git, and hubToken the only token that may write there.
const (
	sampleRepository = "example/tally"
	sampleRemote     = "https://github.com/" + sampleRepository + ".git"
	hubToken         = "token-of-nobody-but-peers"
)

// releaseHub is a fake GitHub that containers of the engine reach, too.
type releaseHub struct {
	*fakehub.Server
	port int
	http *http.Server
}

// startHub starts a fake GitHub that knows every commit of a repository that has a tag.
func startHub(ctx context.Context, source string) (*releaseHub, error) {
	hub := fakehub.New(fakehub.Config{Tokens: map[string]fakehub.Access{hubToken: {User: "octocat", Push: true, Scopes: "repo"}}})
	owner, name, _ := strings.Cut(sampleRepository, "/")
	repo := hub.AddRepo(owner, name)
	list, err := Output(Command(ctx, source, nil, "git", "for-each-ref", "--format=%(refname:short)", "refs/tags"))
	if err != nil {
		return nil, err
	}
	for _, t := range strings.Fields(list) {
		line, err := Output(Command(ctx, source, nil, "git", "log", "-1", "--format=%H %ct", t))
		if err != nil {
			return nil, err
		}
		sha, at, _ := strings.Cut(line, " ")
		unix, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the time of tag %q: %w", t, err)
		}
		repo.AddCommit(sha, time.Unix(unix, 0))
		repo.Tag(t, sha)
	}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		return nil, fmt.Errorf("open a fake GitHub: %w", err)
	}
	h := &releaseHub{hub, l.Addr().(*net.TCPAddr).Port, fakehub.HTTPServer(hub)}
	go func() { _ = h.http.Serve(fakehub.Refusing(l)) }()
	return h, nil
}

func (h *releaseHub) Close() error {
	h.Server.Close()
	return h.http.Close()
}

// url is the fake GitHub's address on this machine, without a slash at the end.
func (h *releaseHub) url() string { return fmt.Sprintf("http://127.0.0.1:%d", h.port) }

// arguments are those by which a call of Gantry reaches it.
func (h *releaseHub) arguments(g *engine) []string {
	return []string{"--repository=" + sampleRepository, fmt.Sprintf("--github=http://%s:%d", g.host, h.port)}
}

// publicRelease is what users see of a release.
type publicRelease struct {
	Tag    string `json:"tag_name"`
	Draft  bool   `json:"draft"`
	Assets []struct {
		Name   string `json:"name"`
		Digest string `json:"digest"`
	} `json:"assets"`
}

// public returns the release of a tag as users see it, and nil if they see none.
func (h *releaseHub) public(tag string) (*publicRelease, error) {
	answer, err := http.Get(h.url() + "/api/v3/repos/" + sampleRepository + "/releases/tags/" + tag)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusNotFound:
		return nil, nil
	case http.StatusOK:
		r := &publicRelease{}
		return r, json.NewDecoder(answer.Body).Decode(r)
	}
	return nil, errors.New("the fake GitHub answers " + answer.Status)
}
