package github

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/wire"
)

// victimEnv, when set, makes the test binary a process that releases to that
// address, and is killed in the middle.
const victimEnv = "GANTRY_TEST_RELEASE_TO"

func TestMain(m *testing.M) {
	if url := os.Getenv(victimEnv); url != "" {
		w := &world{}
		w.commit = os.Getenv("GANTRY_TEST_COMMIT")
		c, err := New(overTCP(url))
		if err == nil {
			_, err = c.Release(context.Background(), victimSpec(w))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func overTCP(url string) Options {
	return Options{
		Token:        func(context.Context) (string, error) { return canary, nil },
		APIURL:       url + "api/v3/",
		starterGrace: time.Nanosecond, // nobody else is there
		concurrency:  1,
	}
}

func victimSpec(w *world) Spec {
	spec := w.spec("v1.2.0")
	spec.Dispatch = &Dispatch{EventType: "gantry-release", Payload: map[string]any{"tag": "v1.2.0"}}
	return spec
}

// A process that is killed with SIGKILL at any call, before or after the call
// was carried out, leaves a state from which the next run ends in the right
// one.
func TestKilledAtEveryCall(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for every call")
	}
	calls, want := clean(t)
	n := 0
	for _, at := range calls {
		for _, kind := range []fakehub.FaultKind{fakehub.Reset, fakehub.ResetAfter} {
			n++
			hub := fakehub.New(fakehub.Config{Tokens: map[string]fakehub.Access{canary: {User: "octocat", Push: true}}})
			w := &world{t: t, hub: &fakehub.Local{Server: hub}}
			w.repo = hub.AddRepo("octo", "hello")
			w.commit = w.repo.Commit("one")
			w.repo.AnnotatedTag("v1.2.0", w.commit)
			w.repo.Seed(fakehub.Seed{Tag: "v1.1.0", Commit: w.repo.Commit("older"), Title: "v1.1.0", Latest: true,
				Files: []fakehub.File{{Name: "old", Data: []byte("old")}}})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			srv := fakehub.HTTPServer(hub)
			go func() { _ = srv.Serve(l) }()
			url := "http://" + l.Addr().String() + "/"

			victim := exec.Command(os.Args[0])
			victim.Env = append(os.Environ(), victimEnv+"="+url, "GANTRY_TEST_COMMIT="+w.commit)
			var out bytes.Buffer
			victim.Stderr = &out
			started := make(chan struct{})
			hub.Arm(fakehub.Fault{Kind: kind, N: at.N, Do: func(fakehub.Call) { <-started; _ = victim.Process.Kill() }})
			require.NoError(t, victim.Start())
			close(started)
			var exit *exec.ExitError
			require.ErrorAs(t, victim.Wait(), &exit, out.String())
			require.Equal(t, -1, exit.ExitCode(), "killed at call %d: %s", at.N, out.String())
			require.Equal(t, 1, hub.FaultsMet())
			// The call that it died in is carried out, or not, before the next.
			require.Eventually(t, func() bool { return hub.Active() == 0 }, 10*time.Second, time.Millisecond)

			o := overTCP(url)
			transport, err := wire.NewTransport(nil)
			require.NoError(t, err)
			o.Transport = transport
			c, err := New(o)
			require.NoError(t, err)
			_, err = c.Release(t.Context(), victimSpec(w))
			require.NoError(t, err, "after %s at call %d (%s)", kind, at.N, at.Op)
			require.Equal(t, want, hub.Dump(), "after %s at call %d (%s)", kind, at.N, at.Op)
			w.neverIncomplete(victimSpec(w))
			transport.CloseIdleConnections()
			_ = srv.Close()
		}
	}
	t.Logf("killed %d processes, at every one of %d calls, before and after it was carried out: every second run ended in the same state", n, len(calls))
}
