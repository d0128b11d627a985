// Command plot draws a plot of cost over size, both logarithmic, as SVG. It reads what
// to draw as JSON (curve.Plot of ci/scripts/scale/curve), and keeps its digest in the
// file, so that a test sees whether the file is up to date. It is a module of its own:
// what it needs stays out of the root go.mod.
package main

import (
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// figure is what to draw.
type figure struct {
	Title, X, Y string
	Lines       []struct {
		Name   string
		Points [][2]float64
	}
	Digest string
}

const width, height = 16 * vg.Centimeter, 9 * vg.Centimeter

// colors that people with any color vision tell apart (Okabe and Ito).
var colors = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {86, 180, 233, 255}, {0, 0, 0, 255},
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var f figure
	if err := json.NewDecoder(in).Decode(&f); err != nil {
		return fmt.Errorf("read what to draw: %w", err)
	}
	p, err := f.plot()
	if err != nil {
		return err
	}
	canvas := vgsvg.New(width, height)
	p.Draw(draw.New(canvas))
	if _, err := canvas.WriteTo(out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "<!-- %s -->\n", f.Digest)
	return err
}

func (f *figure) plot() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = f.Title, f.X, f.Y
	p.BackgroundColor = color.White
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, l := range f.Lines {
		points := make(plotter.XYs, len(l.Points))
		for k, q := range l.Points {
			points[k].X, points[k].Y = q[0], q[1]
		}
		drawn, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("draw %q: %w", l.Name, err)
		}
		drawn.Color, dots.Color = colors[i%len(colors)], colors[i%len(colors)]
		drawn.Width, dots.Shape = vg.Points(1.5), draw.CircleGlyph{}
		p.Add(drawn, dots)
		p.Legend.Add(l.Name, drawn, dots)
	}
	if len(f.Lines) == 0 {
		return nil, fmt.Errorf("draw %q: nothing was measured", f.Title)
	}
	// Whole powers of ten, so that the lines have room and the ticks have numbers.
	p.X.Min, p.X.Max = decade(p.X.Min, math.Floor), decade(p.X.Max, math.Ceil)
	p.Y.Min, p.Y.Max = decade(p.Y.Min, math.Floor), decade(p.Y.Max*2, math.Ceil)
	return p, nil
}

// decade returns the power of ten next to a value.
func decade(v float64, round func(float64) float64) float64 {
	return math.Pow(10, round(math.Log10(v)))
}
