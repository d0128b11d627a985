package curve

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// grown is a curve whose seconds follow from the size.
func grown(seconds func(n float64) float64, sizes ...int) *Curve {
	c := &Curve{Group: "g", Step: "s"}
	for i, n := range sizes {
		p := Point{N: n, Seconds: seconds(float64(n))}
		if i == 0 {
			c.Base = p
		} else {
			c.Points = append(c.Points, p)
		}
	}
	return c
}

func TestFitFindsKnownExponents(t *testing.T) {
	sizes := []int{1, 10, 30, 100, 300, 1000}
	for _, c := range []struct {
		name     string
		seconds  func(n float64) float64
		exponent float64
	}{
		{"linear", func(n float64) float64 { return 0.01 * n }, 1},
		{"linear, after a large fixed cost", func(n float64) float64 { return 2 + 0.01*n }, 1},
		{"quadratic", func(n float64) float64 { return 0.001 * n * n }, 2},
		{"quadratic, after a large fixed cost", func(n float64) float64 { return 20 + 0.001*n*n }, 2},
		{"square root", func(n float64) float64 { return 1 + math.Sqrt(n) }, 0.5},
		{"n log n", func(n float64) float64 { return 0.01 * n * math.Log2(n+1) }, 1.15},
	} {
		fit := grown(c.seconds, sizes...).Fit()
		assert.InDelta(t, c.exponent, fit.Exponent, 0.07, c.name)
		assert.False(t, fit.Flat(), c.name)
	}
	near := grown(func(n float64) float64 { return 0.1 * n }, 100, 110, 120, 150).Fit()
	assert.InDelta(t, 1, near.Exponent, 1e-9, "a linear step is linear also near the base")
}

func TestFitShowsTheEnd(t *testing.T) {
	c := grown(func(n float64) float64 { return 0.01*n + 0.00001*n*n*n }, 1, 10, 30, 100, 300)
	fit := c.Fit()
	assert.Less(t, fit.Exponent, fit.Last)
	assert.InDelta(t, 2.9, fit.Last, 0.15)
}

func TestFitIgnoresNoise(t *testing.T) {
	flat := grown(func(n float64) float64 { return 1 + 0.05*math.Sin(n) }, 1, 10, 100, 1000)
	assert.True(t, flat.Fit().Flat())
	assert.Zero(t, flat.Fit().Exponent)
	short := grown(func(n float64) float64 { return 0.00001 * n * n }, 1, 10, 20, 30)
	assert.True(t, short.Fit().Flat(), "milliseconds")
	none := grown(func(n float64) float64 { return n }, 1)
	assert.True(t, none.Fit().Flat())
	late := grown(func(n float64) float64 { return 1 + 0.000001*n*n*n }, 1, 10, 100)
	assert.Equal(t, 2, late.Fit().Used, "one point above the noise, and the largest below it")
	assert.InDelta(t, 1, late.Fit().Exponent, 0.05)
	jump := grown(func(n float64) float64 { return 1 + 0.001*n*n*n }, 1, 4, 100)
	assert.Greater(t, jump.Fit().Exponent, 2.0)
}

// What a step costs as the work grows shows at the end.
func TestFitLooksAtTheEnd(t *testing.T) {
	sizes := []int{1, 10, 30, 100, 300, 1000, 3000, 10000}
	late := grown(func(n float64) float64 { return 0.01*n + 0.00001*n*n }, sizes...).Fit()
	assert.Equal(t, 3, late.Used)
	assert.Greater(t, late.Exponent, MostExponent, "a quadratic part that was small at first")
	dearer := func(n float64) float64 { // which happens once, where the work no longer fits
		if n < 500 {
			return 0.001 * n
		}
		return 0.002 * n
	}
	assert.InDelta(t, 1, grown(dearer, sizes...).Fit().Exponent, 0.01)
	assert.Equal(t, 3, grown(func(n float64) float64 { return n }, 1, 2, 100, 10000).Fit().Used)
}

// A size whose cost hardly exceeds the fixed cost has little weight.
func TestFitWeighsNoise(t *testing.T) {
	c := grown(func(n float64) float64 { return 1 + 0.0005*n }, 1, 1000, 3000, 10000)
	c.Points[0].Seconds = 1.11 // 1.5 without noise
	fit := c.Fit()
	assert.Equal(t, 3, fit.Used)
	assert.InDelta(t, 1, fit.Exponent, 0.08, "it would be 1.6 without weights")
	square := grown(func(n float64) float64 { return 1 + 0.0000001*n*n }, 1, 1000, 3000, 10000).Fit()
	assert.InDelta(t, 2, square.Exponent, 0.01)
}

// The standard error is what the exponents of many curves differ by, whose seconds have
// an error of three percent.
func TestFitKnowsItsError(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const curves, share = 400, 0.03
	for _, fixed := range []float64{0, 1, 5} {
		var exponents, errors []float64
		for range curves {
			c := grown(func(n float64) float64 { return (fixed + 0.01*n) * (1 + share*random.NormFloat64()) }, 1, 100, 300, 600, 1000)
			c.Base.Spread = share
			for i := range c.Points {
				c.Points[i].Spread = share
			}
			fit := c.Fit()
			exponents, errors = append(exponents, fit.Exponent), append(errors, fit.Error)
		}
		mean, deviation := moments(exponents)
		assert.InDelta(t, 1, mean, 0.03, "%v", fixed)
		expected, _ := moments(errors)
		assert.InDelta(t, 1, deviation/expected, 0.25, "%v: %v and %v", fixed, deviation, expected)
	}
	assert.InDelta(t, 0.01, typical([]float64{0.001, 0.002}), 1e-9, "two runs may agree by chance")
	assert.InDelta(t, 0.05, typical([]float64{0, 0, 0.05}), 1e-9, "some sizes were measured once")
	once := grown(func(n float64) float64 { return n }, 1, 10, 100).Fit()
	assert.Equal(t, "1.00", once.String(), "nothing is known of its error")
	once.Error = 0.25
	assert.Equal(t, "1.00 ± 0.25", once.String())
}

// moments returns the mean and the standard deviation.
func moments(values []float64) (mean, deviation float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		deviation += (v - mean) * (v - mean) / float64(len(values))
	}
	return mean, math.Sqrt(deviation)
}

func TestMerge(t *testing.T) {
	assert.Equal(t, Point{N: 7, Seconds: 2, Spread: 0.5, Elapsed: 4, ElapsedSpread: 0.25, Requests: 9, Bytes: 8, Memory: 30}, Merge([]Point{
		{N: 7, Seconds: 5, Elapsed: 4, Requests: 9, Bytes: 8, Memory: 10}, {N: 7, Seconds: 2, Elapsed: 5, Memory: 30}, {N: 7, Seconds: 3, Elapsed: 9, Memory: 20},
	}))
	assert.Equal(t, Point{Seconds: 2}, Merge([]Point{{Seconds: 2}}), "of one run, nothing is known")
}

func TestProblemsNameTheCurve(t *testing.T) {
	c := grown(func(n float64) float64 { return 0.001 * n * n }, 1, 10, 100)
	assert.Equal(t, []string{"g: s: the seconds grow with an exponent of 1.92, more than 1.1"}, c.Problems())
	for i := range c.Points {
		c.Points[i].Seconds, c.Points[i].Elapsed = 1, c.Points[i].Seconds
	}
	assert.Equal(t, []string{"g: s: the elapsed seconds grow with an exponent of 1.92, more than 1.1"}, c.Problems())

	c.Reference = true
	assert.Empty(t, c.Problems(), "it is there for comparison")

	c = grown(func(n float64) float64 { return 0.1 * n }, 1, 10, 150)
	c.MostRequests, c.MostMemory = &Bound{Fixed: 3, PerHundred: 2, Each: 1}, 10
	c.Points[0].Requests, c.Points[1].Requests = 15, 158
	c.Points[1].Memory = 11 << 10
	assert.Equal(t, []string{
		"g: s: 158 requests at n = 150, more than 3 + 2⌈n/100⌉ + n = 157",
		"g: s: 11 MiB of memory at n = 150, more than 10 MiB",
	}, c.Problems())
	c.Points[1].Requests, c.Points[1].Memory = 157, 10<<10
	assert.Empty(t, c.Problems())
	assert.Equal(t, "5", Bound{Fixed: 5}.String())
	assert.Equal(t, "5 + 2n", Bound{Fixed: 5, Each: 2}.String())
}

func TestRequestsPer(t *testing.T) {
	c := grown(func(float64) float64 { return 1 }, 0, 100, 1000)
	c.Base.Requests, c.Points[0].Requests, c.Points[1].Requests = 7, 8, 17
	base, each := c.RequestsPer()
	assert.EqualValues(t, 7, base)
	assert.InDelta(t, 0.01, each, 1e-9)
	assert.Equal(t, "17 (7 + 1.0 per 100)", c.requests())
	c.Points[1].Requests = 2007
	assert.Equal(t, "2,007 (7 + 2.00 each)", c.requests())
}

func TestResultsAreMerged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "scale.json")
	r, err := Read(file)
	require.NoError(t, err)
	groups := []string{"a", "b"}
	r.Put(Curve{Group: "b", Step: "1"}, groups)
	r.Put(Curve{Group: "a", Step: "2"}, groups)
	r.Put(Curve{Group: "a", Step: "1"}, groups)
	r.Put(Curve{Group: "b", Step: "1", Date: "2026-01-02"}, groups)
	require.NoError(t, r.Write(file))
	again, err := Read(file)
	require.NoError(t, err)
	var names []string
	for _, c := range again.Curves {
		names = append(names, c.Name()+c.Date)
	}
	assert.Equal(t, []string{"a: 2", "a: 1", "b: 12026-01-02"}, names)
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o644))
	_, err = Read(file)
	assert.ErrorContains(t, err, "scale.json")
}

func TestPage(t *testing.T) {
	c := grown(func(n float64) float64 { return 0.5 + 0.01*n }, 1, 10, 100, 1000)
	c.Group, c.Step, c.What, c.Worker, c.Process = "files", "plan", "Plans a source", "the whole call", "the module's program"
	c.Date, c.Machine, c.Command, c.MostRequests, c.MostMemory = "2026-01-02", "2 × a processor", "scripts/bench scale files", &Bound{Fixed: 9}, 64
	for i := range c.Points {
		c.Points[i].Requests, c.Points[i].Bytes, c.Points[i].Memory = 9, 1234567, 20<<10
	}
	c.Base.Requests = 9
	flat := *grown(func(float64) float64 { return 12.345 }, 1, 10)
	flat.Group, flat.Step, flat.What, flat.Worker = "files", "again", "The same again", "the whole call"
	flat.Base.Elapsed, flat.Points[0].Elapsed = 7, 8
	page := Page(&Results{Curves: []Curve{*c, flat}}, []Group{{Name: "files", Title: "Files", Unit: "files", About: "About files."}, {Name: "none", Title: "None"}})
	for _, want := range []string{
		"| Files | plan | 1 to 1,000 | 1.00 | 1.00 |  | 10.5 s | 9 | 20 MiB |\n",
		"| Files | again | 1 to 10 | flat | flat | flat | 12.3 s |  |  |\n",
		"\nNo step breaks a rule in these results.\n",
		"## Files\n\nAbout files.\n\n![Seconds over files, both logarithmic](scale/files.svg)\n",
		"- **plan**: Plans a source. Processor time of the whole call; memory of the module's program; at most 9 requests; at most 64 MiB.\n",
		"| files | plan | requests | bytes | memory | again | elapsed |\n|---|---|---|---|---|---|---|\n",
		"| 10 | 0.600 s | 9 | 1.2 MB | 20 MiB | 12.3 s | 8.000 s |\n| 100 | 1.500 s | 9 | 1.2 MB | 20 MiB |  |  |\n",
		"`scripts/bench scale files`, 2026-01-02, 2 × a processor.\n",
	} {
		assert.Contains(t, page, want)
	}
	assert.NotContains(t, page, "None")
	c.MostMemory = 19
	assert.Contains(t, Page(&Results{Curves: []Curve{*c}}, []Group{{Name: "files"}}), "\nThese results break rules:\n\n- files: plan: ", "they are named")
	assert.Contains(t, Page(&Results{Curves: []Curve{*c}}, []Group{{Name: "files"}}), "\n\n- files: plan: 20 MiB of memory at n = 10, more than 19 MiB\n- files")
}

func TestPlotHasADigest(t *testing.T) {
	c := grown(func(n float64) float64 { return 0.01 * n }, 0, 10, 100)
	c.Group = "files"
	g := Group{Name: "files", Title: "Files", Unit: "files"}
	p, err := PlotOf(&Results{Curves: []Curve{*c}}, g)
	require.NoError(t, err)
	assert.Equal(t, []Line{{Name: "s, n^1.00", Points: [][2]float64{{10, 0.1}, {100, 1}}}}, p.Lines, "logarithms have no 0")
	assert.Len(t, p.Digest, 64)
	c.Points[1].Seconds = 1.1
	other, err := PlotOf(&Results{Curves: []Curve{*c}}, g)
	require.NoError(t, err)
	assert.NotEqual(t, p.Digest, other.Digest)
}
