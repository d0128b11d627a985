package curve

import (
	"cmp"
	"math"
	"slices"
)

// Fit is the growth of a curve.
type Fit struct {
	// Exponent k of the growth with n^k; 0 if the seconds hardly depend on n.
	Exponent float64
	// Factor c, in seconds.
	Factor float64
	// Last is the exponent between the two largest sizes, and 0 where it is unknown.
	Last float64
	// Used counts the points that were used.
	Used int
}

// Flat reports whether the seconds hardly depend on n.
func (f Fit) Flat() bool { return f.Used == 0 }

const (
	// leastShare of the fixed cost is what a point must exceed it by to be used: the
	// rest is noise.
	leastShare = 0.1
	// leastSeconds is the least excess that is used.
	leastSeconds = 0.02
)

// Fit fits t(n) = t(n₀) + c·(n − n₀)^k to the points by least squares: a line through
// log(t(n) − t(n₀)) over log(n − n₀). Its slope is the exponent k.
//
// The base, n₀, is the same step at the smallest size. Its cost is what every run costs,
// and is taken off, since it would hide the growth: a step of one fixed second and a
// quadratic rest looks flat until the rest exceeds that second. n₀ is taken off too,
// because t(n₀) contains the cost of n₀: without that, a linear step would seem to grow
// faster near the base (for n = 2n₀ and 10n₀ by 9, not by 5). With it, a linear step
// has exactly 1, and a quadratic one approaches 2.
//
// Points that exceed the base by less than a tenth of it, or by less than 20 ms, are
// noise and the garbage collector's first runs, and are not used. If only one point is
// left, the largest unused one counts with that threshold, which it didn't reach, so that
// the exponent is not overestimated. If none is left, the step is flat, and its exponent
// is 0.
func (c *Curve) Fit() Fit { return c.fit(func(p Point) float64 { return p.Seconds }) }

// FitElapsed fits the elapsed time in the same way. A curve that has none is flat.
func (c *Curve) FitElapsed() Fit { return c.fit(func(p Point) float64 { return p.Elapsed }) }

func (c *Curve) fit(seconds func(Point) float64) Fit {
	fixed := seconds(c.Base)
	least := max(leastShare*fixed, leastSeconds)
	points := slices.SortedFunc(slices.Values(c.Points), func(a, b Point) int { return cmp.Compare(a.N, b.N) })
	points = slices.DeleteFunc(points, func(p Point) bool { return p.N <= c.Base.N })
	var xs, ys []float64
	below := -1.0
	for _, p := range points {
		x, excess := math.Log(float64(p.N-c.Base.N)), seconds(p)-fixed
		if excess < least {
			below = x
			continue
		}
		xs, ys = append(xs, x), append(ys, math.Log(excess))
	}
	if len(xs) == 1 && below >= 0 && below < xs[0] {
		xs, ys = append([]float64{below}, xs...), append([]float64{math.Log(least)}, ys...)
	}
	if len(xs) < 2 {
		return Fit{}
	}
	k, a := line(xs, ys)
	last := len(xs) - 1
	return Fit{Exponent: k, Factor: math.Exp(a), Last: (ys[last] - ys[last-1]) / (xs[last] - xs[last-1]), Used: len(xs)}
}

// line returns the slope and the intercept of the line of least squares.
func line(xs, ys []float64) (slope, intercept float64) {
	n := float64(len(xs))
	var sx, sy, sxx, sxy float64
	for i, x := range xs {
		sx, sy, sxx, sxy = sx+x, sy+ys[i], sxx+x*x, sxy+x*ys[i]
	}
	slope = (n*sxy - sx*sy) / (n*sxx - sx*sx)
	return slope, (sy - slope*sx) / n
}

// RequestsPer returns the requests as a line: those at the base, and how many each
// further one adds, between the base and the largest size.
func (c *Curve) RequestsPer() (base int64, each float64) {
	last := c.Largest()
	if last.N == c.Base.N {
		return c.Base.Requests, 0
	}
	return c.Base.Requests, float64(last.Requests-c.Base.Requests) / float64(last.N-c.Base.N)
}
