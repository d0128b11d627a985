package github

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/github/fakehub"
)

func TestReleaseFromNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Tag("v1.0.0", w.commit)
		rep, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.NoError(t, err)
		t.Log("\n" + rep.Text())
		t.Log("\n" + w.hub.Dump())
		for _, c := range w.hub.Calls() {
			t.Log(c)
		}
		w.hub.Forget()
		rep, err = w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.NoError(t, err)
		t.Log("\n" + rep.Text())
	})
}
