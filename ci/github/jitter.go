package github

// WithJitter returns the options with a source of random numbers in [0, 1), which
// spread the pauses between tries: with the same numbers, a simulation waits the same
// times. By default, they come from math/rand.
func (o Options) WithJitter(next func() float64) Options {
	o.rand = next
	return o
}
