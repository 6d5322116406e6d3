package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"unicode/utf8"
)

// samples are a measurement's values by side, run by run.
type samples map[string][]float64

func (s samples) add(name string, v float64) { s[name] = append(s[name], v) }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

// row is one line: with a target it is met or not, without one it is there to compare.
type row struct {
	what, unit, peer        string
	ours, theirs            float64
	ratio, smallest, widest float64
	target                  float64
}

type table struct{ rows []row }

// ratio adds bkfs against a peer: the median of the runs' ratios, and how far they went.
func (t *table) ratio(what string, s samples, peer, unit string, target float64) {
	var ratios []float64
	for i := range min(len(s["bkfs"]), len(s[peer])) {
		ratios = append(ratios, s["bkfs"][i]/s[peer][i])
	}
	if len(ratios) == 0 {
		return
	}
	t.rows = append(t.rows, row{
		what, unit, peer, median(s["bkfs"]), median(s[peer]),
		median(ratios), slices.Min(ratios), slices.Max(ratios), target,
	})
}

// share adds a part of a whole.
func (t *table) share(what string, part, whole float64, unit string, target float64) {
	t.rows = append(t.rows, row{what, unit, "of the first", part, whole, part / whole, part / whole, part / whole, target})
}

// limit adds one value and its bound.
func (t *table) limit(what string, value float64, unit string, bound float64) {
	t.rows = append(t.rows, row{what, unit, "limit", value, bound, value / bound, value / bound, value / bound, 1})
}

func (r row) verdict() (target, verdict string) {
	switch {
	case r.target == 0:
		return "", ""
	case r.ratio <= r.target:
		return fmt.Sprintf("≤ %.4g", r.target), "met"
	default:
		return fmt.Sprintf("≤ %.4g", r.target), "NOT MET"
	}
}

func (t *table) print(w io.Writer) {
	width := 0
	for _, r := range t.rows {
		width = max(width, utf8.RuneCountInString(r.what))
	}
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tab, "%-*s\tbkfs\tpeer\t\t\tratio\tmin … max\ttarget\t\t\n", width, "measurement")
	for _, r := range t.rows {
		target, verdict := r.verdict()
		fmt.Fprintf(tab, "%-*s\t%.4g\t%.4g\t%s\t%s\t%.3f\t%.3f … %.3f\t%s\t%s\t\n",
			width, r.what, r.ours, r.theirs, r.unit, r.peer, r.ratio, r.smallest, r.widest, target, verdict)
	}
	tab.Flush()
}

func (t *table) tsv() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, "measurement\tbkfs\tpeer\tunit\tpeer name\tratio\tmin\tmax\ttarget\tverdict")
	for _, r := range t.rows {
		_, verdict := r.verdict()
		fmt.Fprintf(&b, "%s\t%g\t%g\t%s\t%s\t%g\t%g\t%g\t%g\t%s\n",
			r.what, r.ours, r.theirs, r.unit, r.peer, r.ratio, r.smallest, r.widest, r.target, verdict)
	}
	return b.Bytes()
}
