// Fakehub serves a stand-in of GitHub on a local address.
//
// The gh command reaches it as an HTTP proxy, without privileges:
//
//	fakehub -listen 127.0.0.1:8080 -repo demo/hello &
//	export HTTP_PROXY=http://127.0.0.1:8080 GH_TOKEN=any
//	gh release view v1.0.0 -R github.localhost/demo/hello
//
// A client of the API uses http://127.0.0.1:8080/api/v3/ and, for uploads,
// http://127.0.0.1:8080/api/uploads/. What is in it is shown, as text, at
// /_state, /_calls and /_events. The state is lost when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dagger/gantry/ci/fakehub"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("fakehub: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:8080", "the address to listen on; port 0 picks a free one")
	limits := flag.Bool("limits", false, "apply the rate limits that GitHub documents")
	delay := flag.Duration("list-delay", 0, "how long lists lag behind changes")
	immutable := flag.Bool("immutable", false, "make published releases immutable")
	verbose := flag.Bool("verbose", false, "print every call")
	token := flag.String("token", "", "the only token that may write; by default, any")
	var repos, commits, tags, faults list
	flag.Var(&faults, "fault", `a fault for the n-th call, as "502 with starter@8"; may be repeated`)
	flag.Var(&repos, "repo", "a repository to make, as owner/name; may be repeated")
	flag.Var(&commits, "commit", "a commit of the last repository, as sha or sha@unix-time; may be repeated")
	flag.Var(&tags, "tag", "a tag of the last repository, as name=sha; may be repeated")
	flag.Parse()

	cfg := fakehub.Config{ListDelay: *delay}
	if *limits {
		cfg.Limits = fakehub.Documented
	}
	if *token != "" {
		cfg.Tokens = map[string]fakehub.Access{*token: {User: "octocat", Push: true, Scopes: "repo"}}
	}
	hub := fakehub.New(cfg)
	defer hub.Close()
	var last *fakehub.Repo
	for _, r := range repos {
		owner, name, ok := strings.Cut(r, "/")
		if !ok {
			return fmt.Errorf("read -repo %q: want owner/name", r)
		}
		last = hub.AddRepo(owner, name)
		if *immutable {
			last.Immutable()
		}
	}
	if last == nil && len(commits)+len(tags) > 0 {
		return errors.New("-commit and -tag need a -repo")
	}
	for _, c := range commits {
		sha, at, dated := strings.Cut(c, "@")
		date := time.Now()
		if dated {
			var unix int64
			if _, err := fmt.Sscan(at, &unix); err != nil {
				return fmt.Errorf("read -commit %q: %w", c, err)
			}
			date = time.Unix(unix, 0)
		}
		last.AddCommit(sha, date)
	}
	for _, t := range tags {
		name, sha, ok := strings.Cut(t, "=")
		if !ok {
			return fmt.Errorf("read -tag %q: want name=sha", t)
		}
		last.Tag(name, sha)
	}

	for _, f := range faults {
		kind, at, _ := strings.Cut(f, "@")
		n, err := strconv.Atoi(at)
		if err != nil || n < 1 {
			return fmt.Errorf("read -fault %q: want kind@n", f)
		}
		hub.Arm(fakehub.Fault{Kind: fakehub.FaultKind(kind), N: n})
	}

	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	srv := fakehub.HTTPServer(hub)
	if *verbose {
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { log.Printf("%s http://%s%s", r.Method, r.Host, r.URL.RequestURI()) }()
			hub.ServeHTTP(w, r)
		})
	}
	fmt.Fprintf(os.Stdout, "listening on %s\n", l.Addr())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.Serve(fakehub.Refusing(l)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type list []string

func (l *list) String() string     { return strings.Join(*l, ", ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }
