package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// chart is a plot laid out for the template, in units of its view box: close to a CSS
// pixel on a phone. y runs down.
type chart struct {
	Title          string
	W, H           float64
	X0, Y0, X1, Y1 float64 // the plotting area
	XTitle, YTitle string
	XTicks, YTicks []tick
	Lines          map[string]string // polylines by class
	Marks          []mark
}

type tick struct {
	At    float64
	Label string
}

// mark is a point with whiskers from XLo to XHi and from YLo to YHi.
type mark struct {
	Class, Title, Shape      string
	X, Y, XLo, XHi, YLo, YHi float64
	Label, Anchor            string
	LabelX, LabelY           float64
	Link                     string // of the place in the page that it leads to, if there is one
}

// point is a mark in the units of the data; x and y are intervals or exact.
type point struct {
	x, y                eval.Interval
	class, title, label string
	link                string
}

func exact(v float64) eval.Interval { return eval.Interval{Mean: v, Lo: v, Hi: v} }

// axis scales the data to one side of a chart.
type axis struct {
	title  string
	log    bool
	names  []string // ticks at 0, 1, ... instead of numbers
	lo, hi float64
}

// over makes the axis span the coordinates of the points, with a margin, unless it has its
// span.
func (a axis) over(points []point, of func(point) eval.Interval) axis {
	if a.lo < a.hi {
		return a
	}
	a.lo, a.hi = math.Inf(1), math.Inf(-1)
	for _, p := range points {
		a.lo, a.hi = min(a.lo, of(p).Lo), max(a.hi, of(p).Hi)
	}
	if a.log {
		a.lo, a.hi = a.lo/1.3, a.hi*1.3
		return a
	}
	margin := cmp.Or((a.hi-a.lo)*0.06, 0.5)
	a.lo, a.hi = a.lo-margin, a.hi+margin
	return a
}

// place maps a value to [from, to].
func (a axis) place(v, from, to float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		v, lo, hi = math.Log(v), math.Log(lo), math.Log(hi)
	}
	return math.Round(10*(from+(v-lo)/(hi-lo)*(to-from))) / 10
}

// ticks are the axis' names or round values, about six on a linear axis.
func (a axis) ticks(from, to float64) (out []tick) {
	add := func(v float64, label string) { out = append(out, tick{a.place(v, from, to), label}) }
	steps := []float64{1, 2, 5, 10}
	switch {
	case a.names != nil:
		for i, name := range a.names {
			add(float64(i), name)
		}
	case a.log:
		for e := math.Floor(math.Log10(a.lo)); e <= math.Log10(a.hi); e++ {
			for _, m := range steps[:3] {
				if v := m * math.Pow(10, e); v >= a.lo && v <= a.hi {
					add(v, num(v, max(0, int(-e))))
				}
			}
		}
	default:
		least := (a.hi - a.lo) / 6
		decade := math.Pow(10, math.Floor(math.Log10(least)))
		step := decade * steps[slices.IndexFunc(steps, func(m float64) bool { return m*decade >= least || m == 10 })]
		for k := math.Ceil(a.lo / step); k*step <= a.hi; k++ {
			add(k*step, num(k*step, max(0, int(-math.Floor(math.Log10(step)+1e-9)))))
		}
	}
	return out
}

// shapes, paths around (0, 0), tell classes apart without colour.
var shapes = map[string]string{
	alone:  "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
	ranked: "M-4 -4h8v8h-8z",
	guided: "M0 -6L6 0L0 6L-6 0z",
	tuned:  "M0 -6L6 5L-6 5z",
}

// plot lays out the points, joined by a line for each class if joined. left and right are
// margins for labels.
func plot(title string, x, y axis, height, left, right float64, points []point, joined bool) *chart {
	c := &chart{Title: title, W: 420, H: height, X0: left, Y0: 24, X1: 420 - right, Y1: height - 44,
		XTitle: x.title, YTitle: y.title, Lines: map[string]string{}}
	x, y = x.over(points, func(p point) eval.Interval { return p.x }), y.over(points, func(p point) eval.Interval { return p.y })
	c.XTicks, c.YTicks = x.ticks(c.X0, c.X1), y.ticks(c.Y1, c.Y0)
	for _, p := range points {
		m := mark{Class: p.class, Title: p.title, Label: p.label, Shape: shapes[p.class], Link: p.link}
		m.X, m.XLo, m.XHi = x.place(p.x.Mean, c.X0, c.X1), x.place(p.x.Lo, c.X0, c.X1), x.place(p.x.Hi, c.X0, c.X1)
		m.Y, m.YLo, m.YHi = y.place(p.y.Mean, c.Y1, c.Y0), y.place(p.y.Lo, c.Y1, c.Y0), y.place(p.y.Hi, c.Y1, c.Y0)
		c.Marks = append(c.Marks, m)
		if joined {
			c.Lines[p.class] += fmt.Sprint(m.X, ",", m.Y, " ")
		}
	}
	c.label()
	return c
}

// label puts each label beside its mark, on the right where it fits, below those it would
// overlap.
func (c *chart) label() {
	const gap, letter, height = 11, 7, 15
	slices.SortStableFunc(c.Marks, func(a, b mark) int { return cmp.Compare(a.Y, b.Y) })
	for i := range c.Marks {
		m := &c.Marks[i]
		width := float64(letter * len(m.Label))
		m.Anchor, m.LabelX, m.LabelY = "start", m.X+gap, m.Y
		if m.LabelX+width > c.W {
			m.Anchor, m.LabelX = "end", m.X-gap
		}
		for _, o := range c.Marks[:i] {
			if o.Label != "" && o.Anchor == m.Anchor && math.Abs(o.LabelX-m.LabelX) < width {
				m.LabelY = max(m.LabelY, o.LabelY+height)
			}
		}
	}
}
