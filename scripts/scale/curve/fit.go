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
	// Error is the standard error of the exponent; 0 if it is unknown.
	Error float64
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
	// window is the largest size of a fit divided by the smallest, unless fewer than
	// leastPoints are in it.
	window      = 10
	leastPoints = 3
	// leastSpread is the error that the seconds of a point have at least, as a share. Two
	// runs may agree by chance.
	leastSpread = 0.01
)

// Fit fits t(n) = t(n₀) + c·(n − n₀)^k to the largest points by weighted least squares: a
// line through log(t(n) − t(n₀)) over log(n − n₀). Its slope is the exponent k.
//
// The base, n₀, is the same step at the smallest size. Its cost is what every run costs,
// and is taken off, since it would hide the growth: a step of one fixed second and a
// quadratic rest looks flat until the rest exceeds that second. n₀ is taken off too,
// because t(n₀) contains the cost of n₀: without that, a linear step would seem to grow
// faster near the base (for n = 2n₀ and 10n₀ by 9, not by 5). With it, a linear step
// has exactly 1, and a quadratic one approaches 2.
//
// The points are those from a tenth of the largest size on, and at least three: what a
// step costs as the work grows shows at the end, and what grows fast outgrows the rest
// there.
//
// A time t is known but for a share of it, so an excess e of it is known but for that
// share times t/e: a point that hardly exceeds the base says little, and its weight is
// (e/t)².
//
// Points that exceed the base by less than a tenth of it, or by less than 20 ms, are
// noise and the garbage collector's first runs, and are not used. If only one point is
// left, the largest unused one counts with that threshold, which it didn't reach, so that
// the exponent is not overestimated. If none is left, the step is flat, and its exponent
// is 0.
func (c *Curve) Fit() Fit {
	return c.fit(func(p Point) (float64, float64) { return p.Seconds, p.Spread })
}

// FitElapsed fits the elapsed time in the same way. A curve that has none is flat.
func (c *Curve) FitElapsed() Fit {
	return c.fit(func(p Point) (float64, float64) { return p.Elapsed, p.ElapsedSpread })
}

// sample is the logarithms of a size and of the seconds above the base, and the seconds
// divided by those above the base.
type sample struct{ x, y, share float64 }

func (c *Curve) fit(time func(Point) (seconds, spread float64)) Fit {
	fixed, spread := time(c.Base)
	least := max(leastShare*fixed, leastSeconds)
	points := slices.SortedFunc(slices.Values(c.Points), func(a, b Point) int { return cmp.Compare(a.N, b.N) })
	points = slices.DeleteFunc(points, func(p Point) bool { return p.N <= c.Base.N })
	largest := c.Largest().N
	var used []sample
	var sizes []int
	below := -1.0
	spreads := []float64{spread}
	for _, p := range points {
		seconds, spread := time(p)
		x, excess := math.Log(float64(p.N-c.Base.N)), seconds-fixed
		if excess < least {
			below = x
			continue
		}
		used, sizes, spreads = append(used, sample{x, math.Log(excess), seconds / excess}), append(sizes, p.N), append(spreads, spread)
	}
	for len(used) > leastPoints && sizes[0]*window < largest {
		used, sizes = used[1:], sizes[1:]
	}
	if len(used) == 1 && below >= 0 && below < used[0].x {
		used = append([]sample{{below, math.Log(least), (fixed + least) / least}}, used...)
	}
	if len(used) < 2 {
		return Fit{}
	}
	f := line(used, fixed, typical(spreads))
	a, b := used[len(used)-2], used[len(used)-1]
	f.Last, f.Used = (b.y-a.y)/(b.x-a.x), len(used)
	return f
}

// typical is the root of the mean square of what two runs differ by, as a share. A size
// that was measured once has no spread, and doesn't count; without any, it is 0.
func typical(spreads []float64) float64 {
	sum, known := 0.0, 0
	for _, s := range spreads {
		if s > 0 {
			sum, known = sum+s*s, known+1
		}
	}
	if known == 0 {
		return 0
	}
	return max(math.Sqrt(sum/float64(known)), leastSpread)
}

// line returns the slope of the line of weighted least squares, and its standard error if
// every time has an error of a share of it, that of the base, fixed, included.
func line(samples []sample, fixed, share float64) Fit {
	var sum, sx, sy float64
	for _, s := range samples {
		w := 1 / (s.share * s.share)
		sum, sx, sy = sum+w, sx+w*s.x, sy+w*s.y
	}
	mx, my := sx/sum, sy/sum
	var sxx, sxy, base float64
	for _, s := range samples {
		w := 1 / (s.share * s.share)
		sxx, sxy = sxx+w*(s.x-mx)*(s.x-mx), sxy+w*(s.x-mx)*(s.y-my)
		// A longer base makes every excess smaller.
		base += w * (s.x - mx) * fixed * math.Exp(-s.y)
	}
	return Fit{Exponent: sxy / sxx, Error: share * math.Sqrt(1/sxx+base*base/(sxx*sxx))}
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
