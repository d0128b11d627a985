package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrStalled means that a transfer made no progress for too long.
var ErrStalled = errors.New("no progress")

// Stall ends the context of a transfer that makes no progress.
type Stall struct {
	caller, ctx context.Context
	cancel      context.CancelCauseFunc
	timer       *time.Timer
	limit       time.Duration
}

// NewStall returns a context for one transfer, which ends when nothing moves for
// the given time. [Stall.End] releases it.
func NewStall(ctx context.Context, limit time.Duration) (context.Context, *Stall) {
	s := &Stall{caller: ctx, limit: limit}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.timer = time.AfterFunc(limit, func() { s.cancel(fmt.Errorf("%w in %s: try again later", ErrStalled, limit)) })
	return s.ctx, s
}

// Moved starts the time anew.
func (s *Stall) Moved() { s.timer.Reset(s.limit) }

// End releases the transfer.
func (s *Stall) End() {
	s.timer.Stop()
	s.cancel(nil)
}

// Explain returns [ErrStalled], wrapped, for an error of a transfer that was ended
// for it, and marks every other error of its connection; see [Broken].
func (s *Stall) Explain(err error) error {
	if cause := context.Cause(s.ctx); err != nil && errors.Is(cause, ErrStalled) {
		err = cause
	}
	return Broken(s.caller, err)
}

// Body returns the body of an answer, whose reads count as progress. Closing it
// ends the transfer.
func (s *Stall) Body(b io.ReadCloser) io.ReadCloser { return &stallBody{b, s} }

// Counted returns a body that reports how many bytes each read gives.
func Counted(b io.ReadCloser, moved func(n int)) io.ReadCloser { return &countedBody{b, moved} }

type countedBody struct {
	io.ReadCloser
	moved func(int)
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.moved(n)
	}
	return n, err
}

type stallBody struct {
	io.ReadCloser
	stall *Stall
}

func (b *stallBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.stall.Moved()
	}
	if err != io.EOF {
		err = b.stall.Explain(err)
	}
	return n, err
}

func (b *stallBody) Close() error {
	err := b.ReadCloser.Close()
	b.stall.End()
	return err
}
