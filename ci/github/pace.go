package github

import (
	"context"
	"sync"
	"time"
)

// Pace is how fast a client may go. The zero value is what GitHub documents;
// a negative number switches a limit off.
type Pace struct {
	// ContentPerMinute bounds the requests that create content. By default, 80.
	ContentPerMinute int
	// ContentPerHour does too. By default, 500.
	ContentPerHour int
	// PointsPerMinute bounds all requests; a read costs 1, a write 5. By
	// default, 900.
	PointsPerMinute int
	// Between is the least time between the starts of two writes. By default,
	// none.
	Between time.Duration
}

type kind int

const (
	read    kind = iota
	remove       // a write that creates no content
	content      // a write that does
)

func (k kind) points() int {
	if k == read {
		return 1
	}
	return 5
}

// pacer admits calls such that no window of a minute or an hour, wherever
// GitHub lets it begin, holds more than the limits allow. A call counts from
// its start until a full window after its end: the server saw it at some
// moment in between.
type pacer struct {
	p     Pace
	clock Clock

	mu        sync.Mutex
	active    [3]int // calls under way, by kind
	done      []ended
	until     time.Time // nothing starts before
	why       string
	lastWrite time.Time
}

type ended struct {
	at   time.Time
	kind kind
}

func newPacer(p Pace, c Clock) *pacer {
	setDefault(&p.ContentPerMinute, 80)
	setDefault(&p.ContentPerHour, 500)
	setDefault(&p.PointsPerMinute, 900)
	return &pacer{p: p, clock: c}
}

// acquire waits until a call may start. The function that it returns says that
// the call has ended. waiting is told of every wait; it may refuse it.
func (p *pacer) acquire(ctx context.Context, k kind, waiting func(string, time.Duration) error) (func(), error) {
	for {
		d, why := p.try(k)
		if d == 0 {
			return func() { p.end(k) }, nil
		}
		if err := waiting(why, d); err != nil {
			return nil, err
		}
		if err := p.clock.Sleep(ctx, d); err != nil {
			return nil, err
		}
	}
}

// try starts a call, or says for how long it has to wait.
func (p *pacer) try(k kind) (time.Duration, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	for len(p.done) > 0 && now.Sub(p.done[0].at) >= time.Hour {
		p.done = p.done[1:]
	}
	if d := p.until.Sub(now); d > 0 {
		return d, p.why
	}
	if k != read {
		if d := p.lastWrite.Add(p.p.Between).Sub(now); d > 0 {
			return d, "the pause between writes"
		}
	}
	wait, why := time.Duration(0), ""
	check := func(limit int, window time.Duration, need int, cost func(kind) int, name string) {
		if limit < 0 {
			return
		}
		used := need
		for i, n := range p.active {
			used += n * cost(kind(i))
		}
		from := len(p.done)
		for from > 0 && now.Sub(p.done[from-1].at) < window {
			from--
			used += cost(p.done[from].kind)
		}
		if used <= limit {
			return
		}
		d := time.Second // only calls under way are in the way
		for ; from < len(p.done) && used > limit; from++ {
			used -= cost(p.done[from].kind)
			d = p.done[from].at.Add(window).Sub(now)
		}
		if d > wait {
			wait, why = d, name
		}
	}
	if k == content {
		only := func(k kind) int {
			if k == content {
				return 1
			}
			return 0
		}
		check(p.p.ContentPerMinute, time.Minute, 1, only, "the limit of content per minute")
		check(p.p.ContentPerHour, time.Hour, 1, only, "the limit of content per hour")
	}
	check(p.p.PointsPerMinute, time.Minute, k.points(), kind.points, "the limit of points per minute")
	if wait > 0 {
		return wait, why
	}
	p.active[k]++
	if k != read {
		p.lastWrite = now
	}
	return 0, ""
}

func (p *pacer) end(k kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active[k]--
	p.done = append(p.done, ended{p.clock.Now(), k})
}

// hold lets nothing start for a while.
func (p *pacer) hold(d time.Duration, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.clock.Now().Add(d); t.After(p.until) {
		p.until, p.why = t, why
	}
}
