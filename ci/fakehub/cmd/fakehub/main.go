// Fakehub serves a fake GitHub on a local address.
//
// The gh command reaches it as an HTTP proxy, without privileges:
//
//	fakehub -listen 127.0.0.1:8080 -repo demo/hello &
//	export HTTP_PROXY=http://127.0.0.1:8080 GH_TOKEN=any
//	gh release view v1.0.0 -R github.localhost/demo/hello
//
// A client of the API uses http://127.0.0.1:8080/api/v3/ and, for uploads,
// http://127.0.0.1:8080/api/uploads/. The pages /_state, /_calls and /_events
// show its state as text. The state is lost when the program ends.
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

// options are the command's flags.
type options struct {
	listen, token                string
	limits, immutable, verbose   bool
	delay                        time.Duration
	repos, commits, tags, faults list
}

func parse() *options {
	o := &options{}
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8080", "the address to listen on; port 0 picks a free one")
	flag.BoolVar(&o.limits, "limits", false, "apply the rate limits that GitHub documents")
	flag.DurationVar(&o.delay, "list-delay", 0, "how long lists lag behind changes")
	flag.BoolVar(&o.immutable, "immutable", false, "make published releases immutable")
	flag.BoolVar(&o.verbose, "verbose", false, "print every call")
	flag.StringVar(&o.token, "token", "", "the only token that may write; by default, any")
	flag.Var(&o.faults, "fault", `a fault for the n-th call, as "502 with starter@8"; may be repeated`)
	flag.Var(&o.repos, "repo", "a repository to create, as owner/name; may be repeated")
	flag.Var(&o.commits, "commit", "a commit of the last repository, as sha or sha@unix-time; may be repeated")
	flag.Var(&o.tags, "tag", "a tag of the last repository, as name=sha; may be repeated")
	flag.Parse()
	return o
}

func run() error {
	o := parse()
	hub, err := o.hub()
	if err != nil {
		return err
	}
	defer hub.Close()
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	srv := fakehub.HTTPServer(hub)
	if o.verbose {
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { log.Printf("%s http://%s%s", r.Method, r.Host, r.URL.RequestURI()) }()
			hub.ServeHTTP(w, r)
		})
	}
	fmt.Fprintf(os.Stdout, "listening on %s\n", l.Addr())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(fakehub.Refusing(l)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// hub creates the fake GitHub with its repositories and faults.
func (o *options) hub() (*fakehub.Server, error) {
	cfg := fakehub.Config{ListDelay: o.delay}
	if o.limits {
		cfg.Limits = fakehub.Documented
	}
	if o.token != "" {
		cfg.Tokens = map[string]fakehub.Access{o.token: {User: "octocat", Push: true, Scopes: "repo"}}
	}
	hub := fakehub.New(cfg)
	var last *fakehub.Repo
	for _, r := range o.repos {
		owner, name, ok := strings.Cut(r, "/")
		if !ok {
			return nil, fmt.Errorf("read -repo %q: want owner/name", r)
		}
		last = hub.AddRepo(owner, name)
		if o.immutable {
			last.Immutable()
		}
	}
	if err := o.history(last); err != nil {
		return nil, err
	}
	for _, f := range o.faults {
		kind, at, _ := strings.Cut(f, "@")
		n, err := strconv.Atoi(at)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("read -fault %q: want kind@n", f)
		}
		hub.Arm(fakehub.Fault{Kind: fakehub.FaultKind(kind), N: n})
	}
	return hub, nil
}

// history adds the commits and tags to a repository.
func (o *options) history(repo *fakehub.Repo) error {
	if repo == nil && len(o.commits)+len(o.tags) > 0 {
		return errors.New("-commit and -tag need a -repo")
	}
	for _, c := range o.commits {
		sha, at, dated := strings.Cut(c, "@")
		date := time.Now()
		if dated {
			unix, err := strconv.ParseInt(at, 10, 64)
			if err != nil {
				return fmt.Errorf("read -commit %q: %w", c, err)
			}
			date = time.Unix(unix, 0)
		}
		repo.AddCommit(sha, date)
	}
	for _, t := range o.tags {
		name, sha, ok := strings.Cut(t, "=")
		if !ok {
			return fmt.Errorf("read -tag %q: want name=sha", t)
		}
		repo.Tag(name, sha)
	}
	return nil
}

type list []string

func (l *list) String() string     { return strings.Join(*l, ", ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }
