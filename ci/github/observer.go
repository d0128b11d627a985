package github

import (
	"context"
	"time"
)

// Observer follows a release. Its methods are called from several goroutines.
type Observer interface {
	// Planned is called with the plan, before the first write.
	Planned(ctx context.Context, p *Plan)
	// StepStart is called before a step. The step's calls carry the returned
	// context, which may hold a span.
	StepStart(ctx context.Context, s Step) context.Context
	// StepProgress is called while an asset is sent, with the bytes of this try so
	// far.
	StepProgress(ctx context.Context, s Step, sent int64)
	// StepEnd is called after a step with the context of StepStart.
	StepEnd(ctx context.Context, s Step, err error)
	// Waiting is called before a wait of at least a second.
	Waiting(ctx context.Context, why string, d time.Duration)
}

// NopObserver ignores everything. Embed it to implement part of [Observer].
type NopObserver struct{}

func (NopObserver) Planned(context.Context, *Plan)                        {}
func (NopObserver) StepStart(ctx context.Context, _ Step) context.Context { return ctx }
func (NopObserver) StepProgress(context.Context, Step, int64)             {}
func (NopObserver) StepEnd(context.Context, Step, error)                  {}
func (NopObserver) Waiting(context.Context, string, time.Duration)        {}
