package github

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// brokenFile is a file whose reads fail once they may.
type brokenFile struct {
	reads chan struct{}
	err   error
}

func (f brokenFile) Read([]byte) (int, error) {
	<-f.reads
	return 0, f.err
}

func (f brokenFile) Close() error {
	close(f.reads)
	return nil
}

// Over HTTP/2, a transport may close a body while it reads it: that is no failure of
// the asset, and the call is made again.
func TestBodyThatIsClosedDuringARead(t *testing.T) {
	a := file("a", []byte("content"))
	b := &body{r: brokenFile{make(chan struct{}), os.ErrClosed}, a: &a, sum: sha256.New()}
	read := make(chan error)
	go func() {
		_, err := io.ReadAll(b)
		read <- err
	}()
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-read, os.ErrClosed)
	require.Nil(t, b.bad.Load(), "the asset is taken for broken")
}

func TestBodyThatCannotBeRead(t *testing.T) {
	a := file("a", []byte("content"))
	broken := brokenFile{make(chan struct{}, 1), errors.New("disk on fire")}
	broken.reads <- struct{}{}
	b := &body{r: broken, a: &a, sum: sha256.New()}
	_, err := io.ReadAll(b)
	require.EqualError(t, err, `read "a": disk on fire`)
	require.NotNil(t, b.bad.Load())
}

// Refusals are told from failures that another address or try may not have.
func TestIsRefused(t *testing.T) {
	for code, want := range map[int]bool{401: true, 403: true, 404: true, 408: false, 410: false, 429: false, 500: false, 503: false} {
		require.Equal(t, want, isRefused(fmt.Errorf("download: %w", &statusError{code: code})), code)
	}
	require.True(t, isRefused(fmt.Errorf("download: %w", errLogin)))
	require.False(t, isRefused(io.ErrUnexpectedEOF))
	require.False(t, isRefused(nil))
}
