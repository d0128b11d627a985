package github

import (
	"cmp"
	"context"
	"sync"
	"time"

	"dagger/gantry/ci/wire"
)

// limits are GitHub's limits. The zero value means those that it documents.
type limits struct {
	contentPerMinute int // requests that create content, by default 80
	contentPerHour   int // by default, 500
	pointsPerMinute  int // of all requests, by default 900: a read costs 1, a write 5
}

type kind int

const (
	read    kind = iota
	remove       // a write that creates no content
	content      // a write that does
)

// What a call costs of a limit, by its kind.
var (
	points   = [...]int{read: 1, remove: 5, content: 5}
	contents = [...]int{content: 1}
)

// pacer admits calls such that no window of a minute or an hour exceeds the limits,
// wherever GitHub lets it begin. A call counts from its start until a full window
// after its end, as the server saw it at some moment in between.
type pacer struct {
	limits []limit
	clock  wire.Clock

	mu     sync.Mutex
	active [3]int // calls under way, by kind
	done   []ended
	until  time.Time // nothing starts before
	why    string
}

// limit bounds the cost of the calls in any window of time.
type limit struct {
	name   string
	most   int
	window time.Duration
	cost   [3]int
}

type ended struct {
	at   time.Time
	kind kind
}

func newPacer(l limits, c wire.Clock) *pacer {
	return &pacer{clock: c, limits: []limit{
		{"the limit of content per minute", cmp.Or(l.contentPerMinute, 80), time.Minute, contents},
		{"the limit of content per hour", cmp.Or(l.contentPerHour, 500), time.Hour, contents},
		{"the limit of points per minute", cmp.Or(l.pointsPerMinute, 900), time.Minute, points},
	}}
}

// acquire waits until a call may start, and returns a function that ends the call.
// It calls waiting before every wait, which may refuse it.
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

// try starts a call, or returns how long it has to wait, and why.
func (p *pacer) try(k kind) (wait time.Duration, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	for len(p.done) > 0 && now.Sub(p.done[0].at) >= time.Hour {
		p.done = p.done[1:]
	}
	if d := p.until.Sub(now); d > 0 {
		return d, p.why
	}
	for _, l := range p.limits {
		if d := p.room(l, k, now); d > wait {
			wait, why = d, l.name
		}
	}
	if wait == 0 {
		p.active[k]++
	}
	return wait, why
}

// room returns how long a call has to wait until a limit has room for it.
func (p *pacer) room(l limit, k kind, now time.Time) time.Duration {
	used := l.cost[k]
	if used == 0 {
		return 0
	}
	for i, n := range p.active {
		used += n * l.cost[i]
	}
	from := len(p.done)
	for from > 0 && now.Sub(p.done[from-1].at) < l.window {
		from--
		used += l.cost[p.done[from].kind]
	}
	if used <= l.most {
		return 0
	}
	d := time.Second // until a call under way ends
	for ; from < len(p.done) && used > l.most; from++ {
		used -= l.cost[p.done[from].kind]
		d = p.done[from].at.Add(l.window).Sub(now)
	}
	return d
}

func (p *pacer) end(k kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active[k]--
	p.done = append(p.done, ended{p.clock.Now(), k})
}

// hold stops all calls from starting for a while.
func (p *pacer) hold(d time.Duration, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.clock.Now().Add(d); t.After(p.until) {
		p.until, p.why = t, why
	}
}
