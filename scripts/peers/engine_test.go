package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMiddle(t *testing.T) {
	assert.Zero(t, median(nil))
	assert.Equal(t, 2.0, median([]float64{9, 1, 2}))
	assert.Equal(t, 2.5, median([]float64{3, 2, 9, 1}))
}

func TestRounds(t *testing.T) {
	got, err := rounds(3, func(i int) (float64, error) { return float64(i * 10), nil })
	require.NoError(t, err)
	assert.Equal(t, 10.0, got)
	_, err = rounds(2, func(int) (float64, error) { return 0, errors.New("broken") })
	assert.EqualError(t, err, "broken")
}

// A peer that fails is not measured; Gantry must not fail, and nothing goes on after an
// interruption.
func TestTolerated(t *testing.T) {
	e := &Env{}
	assert.True(t, e.tolerated(t.Context(), "goreleaser", assert.AnError))
	assert.False(t, e.tolerated(t.Context(), Gantry, assert.AnError))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.False(t, e.tolerated(ctx, "goreleaser", assert.AnError))

	var runs int
	fails := func(times int) func() (string, error) {
		runs = 0
		return func() (string, error) {
			if runs++; runs <= times {
				return "", fmt.Errorf("try %d", runs)
			}
			return "built", nil
		}
	}
	got, err := retried(t.Context(), e, "goreleaser", fails(0))
	require.NoError(t, err)
	assert.Equal(t, "built", got)
	assert.Empty(t, e.notes)
	got, err = retried(t.Context(), e, "goreleaser", fails(1))
	require.NoError(t, err)
	assert.Equal(t, "built", got)
	assert.Equal(t, []string{"goreleaser failed at first, and was run again."}, e.notes)
	_, err = retried(t.Context(), e, "goreleaser", fails(3))
	assert.EqualError(t, err, "try 2")
	_, err = retried(t.Context(), e, Gantry, fails(1))
	assert.EqualError(t, err, "try 1", "Gantry gets no second try")

	c := missing(errors.New("run it: exit status 1\nand much output"))
	assert.True(t, c.Missing)
	assert.Equal(t, "not measured: run it: exit status 1", c.Note)
}

// The sample is committed with the tags of all tools, and one profile.
func TestSample(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "sample")
	require.NoError(t, sample(t.Context(), &Env{Root: root}, dir))
	out, err := Output(Command(t.Context(), dir, nil, "git", "tag", "--points-at", "HEAD"))
	require.NoError(t, err)
	assert.Equal(t, "tally-1.4.0\nv1.4.0", out)
	out, err = Output(Command(t.Context(), dir, nil, "git", "status", "--porcelain"))
	require.NoError(t, err)
	assert.Empty(t, out)
	out, err = Output(Command(t.Context(), dir, nil, "git", "show", "HEAD:Cargo.toml"))
	require.NoError(t, err)
	require.NoError(t, forImages(t.Context(), dir))
	few, err := Output(Command(t.Context(), dir, nil, "git", "show", "v1.4.0:Cargo.toml"))
	require.NoError(t, err)
	assert.Contains(t, few, "targets = [\n    \"x86_64-unknown-linux-musl\",\n    \"aarch64-unknown-linux-musl\",\n]")
	assert.Contains(t, out, "[profile.dist]\ninherits = \"release\"\n\n[profile.release]\nopt-level = \"s\"")
}
